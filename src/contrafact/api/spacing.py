"""Compare the spacing of an image with that on which its model was trained."""

from __future__ import annotations

import warnings

from contrafact.core import ContrafactWarning, Image, Predictor
from contrafact.models import Preprocessing

TOLERANCE = 0.1  # of the distance; a network of patches does not notice less


def spacing_line(predictor: Predictor, image: Image) -> str | None:
    """Return a sentence where the voxels of an image are spaced otherwise than the model declares; None where
    they are not, or one of both is unknown."""
    declared = predictor.preprocessing
    wanted = declared.spacing_mm if isinstance(declared, Preprocessing) else None
    if wanted is None or not image.grid.spacing_known:
        return None
    have = image.grid.spacing_mm
    if len(have) == len(wanted) and all(abs(a / b - 1) <= TOLERANCE for a, b in zip(have, wanted, strict=True)):
        return None
    return (
        f"the model was trained on voxels of {_mm(wanted)}; those of this image are {_mm(have)}: resample the "
        "image before, or its prediction is not what the model would make of such a scan"
    )


def warn_of_spacing(predictor: Predictor, images: list[Image]) -> None:
    """Warn of the first image that is spaced otherwise than the model declares."""
    line = next((line for image in images if (line := spacing_line(predictor, image))), None)
    if line:
        warnings.warn(line, ContrafactWarning, stacklevel=3)


def _mm(spacing: tuple[float, ...]) -> str:
    return f"{' x '.join(f'{side:.3g}' for side in spacing)} mm"
