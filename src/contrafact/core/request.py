"""What is asked of one image, as digests, and the one key of its answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from contrafact.core.contents import digest_of_content
from contrafact.core.errors import InputError
from contrafact.core.execution import parameters_of, versions
from contrafact.core.fingerprint import fingerprint
from contrafact.core.image import Image
from contrafact.core.registry import EXPLAINERS
from contrafact.core.source import LIBRARIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that can change an answer. Every cache, resumed run and study recognises it by `key` alone.

    image       digest of the image: values, place of its voxels and window (of a file: of its bytes)
    model       digest of the predictor: weights, architecture, source, preprocessing, head, output, classes
    method      hyper-parameters with their registered names, as `parameters_of` gives them
    target      text of the target; empty: the predicted class
    bundle      digest of the bundle: generator, encoder, directions, statistics, its other models
    reference, region, background    digests of the masks and of the other images
    seed        of the method's random draws
    also        what else counts: labels and their names, reliability checks, a second model
    source      digest of a method that does not come with Contrafact
    version     of Contrafact
    """

    image: str
    model: str
    method: Mapping[str, Any]
    target: str
    bundle: str = ""
    reference: str = ""
    region: str = ""
    background: tuple[str, ...] = ()
    seed: int = 0
    also: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    version: str = field(default_factory=lambda: versions().get("contrafact", ""))

    @property
    def key(self) -> str:
        """16 hex digits: equal exactly when nothing that can change the answer differs."""
        return fingerprint(dataclasses.asdict(self))

    @staticmethod
    def of(
        explainer: Any,
        predictor: Any,
        image: Image,
        *,
        target: Any,
        bundle: Any = None,
        reference: Image | None = None,
        region: Image | None = None,
        background: Sequence[Image] = (),
        seed: int = 0,
        also: Mapping[str, Any] | None = None,
    ) -> Request:
        """The request that a call of `explain` with these arguments makes."""
        return Request(
            image=digest_of_image(image),
            model=predictor.digest,
            method=parameters_of(explainer),
            target=text_of_target(predictor, target),
            bundle="" if bundle is None else bundle.digest,
            reference="" if reference is None else digest_of_image(reference),
            region="" if region is None else digest_of_image(region),
            background=tuple(digest_of_image(other) for other in background),
            seed=seed,
            also=also or {},
            source=source_of_method(explainer),
        )


def digest_of_image(image: Image) -> str:
    """Digest of an image's values, of where its voxels lie, of its window, and of a mask that it is labels."""
    labels = ["label map"] if image.label_map else []
    return fingerprint(image.values, image.grid.affine, image.window, *labels)


def text_of_target(predictor: Any, target: Any) -> str:
    """A target's text as it is once resolved: the same for its text, its number and its object; with a digest
    where the text does not say all, as of one with a reference mask, or of someone else's. Empty: none."""
    if target is None:
        return ""
    read = getattr(predictor, "target", None)
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        target = f"{'value' if getattr(predictor, 'output', '') == 'regression' else 'class'}:{int(target)}"
    try:
        plain = read(str(target)) if read else None
    except InputError:
        plain = None
    if isinstance(target, str):
        return target if plain is None else str(plain)
    content = digest_of_content(target)
    same = plain is not None and digest_of_content(plain) == content
    return str(plain) if same else f"{type(target).__qualname__} {content}"


def source_of_method(explainer: Any) -> str:
    """Digest of the source of a method of someone else's; empty for one that comes with Contrafact."""
    kind = EXPLAINERS.get(explainer) if isinstance(explainer, str) else type(explainer)
    if kind.__module__.partition(".")[0] in LIBRARIES:
        return ""
    return digest_of_content(kind)
