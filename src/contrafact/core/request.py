"""One request to explain an image, as digests, and the key of its result."""

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
from contrafact.core.protocols import Predictor
from contrafact.core.registry import EXPLAINERS
from contrafact.core.source import LIBRARIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that can change a result. Caches, resumed runs and studies identify results by `key` alone.

    image       digest of the image: values, affine and window (of a file: of its bytes)
    model       digest of the predictor: weights, architecture, source, preprocessing, head, output, classes
    method      hyper-parameters with their registered names, as `parameters_of` returns them
    target      text of the target; empty: the predicted class
    bundle      digest of the bundle: generator, encoder, directions, statistics, its other models
    reference, region, background    digests of the masks and of the other images
    seed        of the method's random numbers
    also        further inputs: labels and their names, reliability checks, a second model
    source      digest of the source of a third-party method
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
        """16 hex digits; equal exactly if nothing that can change the result differs."""
        return fingerprint(dataclasses.asdict(self))

    @staticmethod
    def of(
        explainer: Any,
        predictor: Predictor,
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
        """Return the request of a call of `explain` with these arguments."""
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
    """Return the digest of an image: values, affine, window, and whether it is a label map."""
    labels = ["label map"] if image.label_map else []
    return fingerprint(image.values, image.grid.affine, image.window, *labels)


def text_of_target(predictor: Predictor, target: Any) -> str:
    """Return the resolved text of a target: the same for its text, its index and its object. Include a digest
    if the text is incomplete (a reference mask, a third-party target). Empty for None."""
    if target is None:
        return ""
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        target = f"{'value' if predictor.output == 'regression' else 'class'}:{int(target)}"
    try:
        plain: Any = predictor.target(str(target))
    except InputError:
        plain = None
    if isinstance(target, str):
        return target if plain is None else str(plain)
    content = digest_of_content(target)
    same = plain is not None and digest_of_content(plain) == content
    return str(plain) if same else f"{type(target).__qualname__} {content}"


def source_of_method(explainer: Any) -> str:
    """Return the digest of the source of a third-party method; empty for a method of Contrafact."""
    kind = EXPLAINERS.get(explainer) if isinstance(explainer, str) else type(explainer)
    if kind.__module__.partition(".")[0] in LIBRARIES:
        return ""
    return digest_of_content(kind)
