"""The real cases nearest to an image on the other side of a decision: a third answer beside two."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.api.explanation import Outputs, parse
from contrafact.api.pooled_features import pooled_features
from contrafact.api.predictions import answers
from contrafact.api.types import ImagesLike, ModelLike, OneImage, OneTarget
from contrafact.core import (
    ContrafactWarning,
    Image,
    InputError,
    NearestCases,
    Predictor,
    RealCase,
    UnsupportedError,
    digest,
    fingerprint,
)
from contrafact.core.fingerprint import digest_of_path
from contrafact.core.request import digest_of_image
from contrafact.io import Cohort, read_cohort, read_image
from contrafact.io.arrays import as_image, as_images
from contrafact.io.dicom_series import patient_of
from contrafact.io.remote import fetched
from contrafact.models import as_predictor

DECIDING = ("class:", "margin:")  # targets with a threshold that is the same for every image
LEAST = 3  # cases; of fewer, features cannot be standardised
NAMED = 5  # unreadable cases that a warning names
TOGETHER = 64  # images in memory at once


def nearest_cases(
    predictor: ModelLike,
    image: OneImage,
    cases: str | Path | Cohort | CaseLibrary | ImagesLike,
    *,
    target: OneTarget | None = None,
    count: int = 3,
    by: ModelLike | None = None,
) -> NearestCases:
    """Return the real cases nearest to an image among those that the model predicts on the other side.

    A case's features are the mean of each channel of the network's last feature map, standardised over all
    cases; the distance is 1 - cosine. Never returned: the image itself (equal values, or the same file) and
    cases of the same patient (`read_cohort`).

    image   as in `explain`
    cases   a folder, a cohort's CSV or a `Cohort`, a list of images, or a `CaseLibrary`, which asks the models
            about each case once for several images
    target  a class or a margin, which has a decision at 0; None: the predicted class
    by      an independent network for the same kind of images, whose nearest cases are compared
    gives   up to `count` cases, none where no case lies on the other side
    cost    one pass of each network per case, and one for the image
    raises  InputError for a target without a decision, fewer than three cases, or cases that are no images
            like this one; UnsupportedError for a network whose layers cannot be read
    """
    if count < 1:
        raise InputError(f"count must be at least 1; got {count}")
    if not isinstance(cases, CaseLibrary):
        cases = CaseLibrary.of(predictor, cases, by=by)
    own = as_image(image)
    asked = Outputs(cases.predictor, own)
    return cases.nearest(own, parse(cases.predictor, target, own, asked), count=count)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A real case: its image or where it is read, its patient and its label where they are known."""

    source: Path | Image
    patient: str = ""
    label: str = ""

    @property
    def name(self) -> str:
        return str(self.source) if isinstance(self.source, Path) else self.source.source

    def read(self) -> Image:
        return read_image(self.source) if isinstance(self.source, Path) else self.source

    def digest(self) -> str:
        source = self.source
        content = digest_of_path(fetched(source)) if isinstance(source, Path) else digest_of_image(source)
        return fingerprint(content, self.patient, self.label)


def candidates_of(cases: str | Path | Cohort | ImagesLike) -> list[Candidate]:
    """Return the cases of a folder, a cohort or a list of images. Raise InputError for anything else."""
    if isinstance(cases, (str, Path)):
        path = Path(cases)
        if path.is_file() and path.suffix.lower() not in (".csv", ".parquet"):
            raise InputError(
                f"expected cases as a folder of images or a cohort's CSV; got the file '{path.name}'"
            )
        cases = read_cohort(path)
    if isinstance(cases, Cohort):
        return [Candidate(case.path, case.patient, case.label) for case in cases]
    return [Candidate(image) for image in as_images(cases)]


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The cases that could be read, and what two networks make of them: raw outputs (N, K) of the model, and
    features (N, F) of each network by the layer's name."""

    known: tuple[Candidate, ...]
    values: tuple[str, ...]
    shape: tuple[int, ...]
    outputs: torch.Tensor
    own: NDArray[np.float64]
    layer: str
    other: NDArray[np.float64] | None
    other_layer: str


def _unchanged(image: Image) -> Image:
    return image


@dataclass(frozen=True, eq=False)
class CaseLibrary:
    """Cases to compare images with. The networks are asked about them once, with the first image.

    by        an independent network, or None; it is not used if it is the model itself
    prepared  what is done to every image after it is read
    """

    predictor: Predictor
    candidates: Sequence[Candidate]
    by: Predictor | None = None
    prepared: Callable[[Image], Image] = _unchanged

    @staticmethod
    def of(
        predictor: ModelLike, cases: str | Path | Cohort | ImagesLike, *, by: ModelLike | None = None
    ) -> CaseLibrary:
        """Return the library of a folder, a cohort or a list of images, as in `nearest_cases`."""
        other = None if by is None else as_predictor(by)
        return CaseLibrary(as_predictor(predictor), candidates_of(cases), by=other)

    @functools.cached_property
    def digest(self) -> str:
        """Identity of the cases, their labels and patients, and of the independent network."""
        other = "" if self.other is None else self.other.digest
        return fingerprint([one.digest() for one in self.candidates], other)

    @functools.cached_property
    def other(self) -> Predictor | None:
        """The independent network, if there is one whose layers can be read."""
        by = self.by
        return None if by is None or not by.watchable or by.digest == self.predictor.digest else by

    @functools.cached_property
    def features(self) -> Features:
        """What the networks make of every case that can be read; a warning names the others."""
        known: list[Candidate] = []
        values: list[str] = []
        shapes: list[tuple[int, ...]] = []
        own, other = _Asked(self.predictor), self.other and _Asked(self.other)
        cases = self._read()
        for part in iter(lambda: list(itertools.islice(cases, TOGETHER)), []):
            arrays = [image.values for _, image in part]
            known += [one for one, _ in part]
            values += [digest(array) for array in arrays]
            shapes += [array.shape for array in arrays]
            _check_kinds(shapes)
            own.ask(arrays)
            if other:
                other.ask(arrays)
        if len(known) < LEAST:
            raise InputError(f"expected at least {LEAST} cases that can be read; got {len(known)}")
        outputs, mine = own.rows()
        others = other.rows()[1] if other else None
        names = own.layer or "", (other.layer or "") if other else ""
        return Features(tuple(known), tuple(values), shapes[0], outputs, mine, names[0], others, names[1])

    def _read(self) -> Iterator[tuple[Candidate, Image]]:
        """Yield the cases with their images; warn of those that cannot be read."""
        unread = []
        for one in self.candidates:
            try:
                image = self.prepared(one.read())
            except (InputError, UnsupportedError) as error:
                unread.append(str(error))
                continue
            yield one, image
        if unread:
            more = f"; and {len(unread) - NAMED} more" if len(unread) > NAMED else ""
            line = f"{len(unread)} of {len(self.candidates)} cases cannot be read and are left out: "
            warnings.warn(line + "; ".join(unread[:NAMED]) + more, ContrafactWarning, stacklevel=2)

    def nearest(self, image: Image, target: Any, *, count: int = 3) -> NearestCases:
        """Return the nearest cases as `nearest_cases` does, for a target that is parsed already."""
        if not str(target).startswith(DECIDING):
            raise InputError(
                f"expected a target with a decision (class:K or margin:A,B) to choose cases by; got {target}"
            )
        found = self.features
        if (len(found.shape), found.shape[0]) != (image.values.ndim, image.channels):
            raise InputError(
                f"expected cases like the image, {image.values.shape}; got cases like {found.shape}"
            )
        outputs, own = _of_image(self.predictor, image, found.layer)
        distance = distances(found.own, own)
        scores = target(found.outputs).double().numpy()
        side = float(target(outputs)[0]) > 0
        free = ~self._same_patient(image)
        across = np.flatnonzero(free & ((scores > 0) != side))
        same = np.flatnonzero(free & ((scores > 0) == side))
        other = None
        if self.other is not None and found.other is not None:
            other = distances(found.other, _of_image(self.other, image, found.other_layer)[1])

        def told(order: NDArray[np.int64], by: NDArray[np.float64], rest: NDArray[np.float64] | None) -> Any:
            return tuple(self._case(int(k), by, rest, across, same, scores) for k in order[:count])

        return NearestCases(
            cases=told(_sorted(across, distance), distance, other),
            by_other=() if other is None else told(_sorted(across, other), other, distance),
            target=str(target),
            layer=found.layer,
            other_layer=found.other_layer,
            across=len(across),
            same=len(same),
            left_out=int((~free).sum()),
        )

    def _case(
        self,
        at: int,
        distance: NDArray[np.float64],
        other: NDArray[np.float64] | None,
        across: NDArray[np.int64],
        same: NDArray[np.int64],
        scores: NDArray[np.float64],
    ) -> RealCase:
        """Return one of the cases with its place among those on both sides."""
        one = self.features.known[at]
        image = self.prepared(one.read())
        known = Outputs(self.predictor, image)
        known.known = self.features.outputs[at][None]
        return RealCase(
            image=image if image.source else dataclasses.replace(image, source=f"case {at + 1}"),
            label=one.label,
            score=float(scores[at]),
            answer="; ".join(answers(self.predictor, image, known)),
            distance=float(distance[at]),
            nearer=float((distance[same] < distance[at]).mean()) if len(same) else None,
            other_rank=None if other is None else int((other[across] < other[at]).sum()) + 1,
        )

    def _same_patient(self, image: Image) -> NDArray[np.bool_]:
        """Return which cases (N,) are the image itself, or of its patient."""
        known, path = self.features.known, Path(image.source) if image.source else None
        own = np.array([value == image.digest for value in self.features.values])
        if path is not None:
            file = path.resolve()
            own |= np.array([isinstance(one.source, Path) and one.source.resolve() == file for one in known])
        patients = {one.patient for one, equal in zip(known, own, strict=True) if equal}
        if path is not None:
            patients.add(patient_of(path) or path.stem)
        return own | np.array([one.patient in patients - {""} for one in known])


def distances(cases: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 - cosine (N,) of features (F,) and those of cases (N, F), standardised over the cases. Features
    that are the same in every case are left out."""
    mean, spread = cases.mean(axis=0), cases.std(axis=0)
    kept = spread > 1e-9 * np.abs(cases).max(axis=0, initial=1e-30)
    others, one = ((values[..., kept] - mean[kept]) / spread[kept] for values in (cases, own))
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(one)
    return 1 - np.divide(others @ one, lengths, out=np.zeros(len(cases)), where=lengths > 0)


def _sorted(across: NDArray[np.int64], distance: NDArray[np.float64]) -> NDArray[np.int64]:
    return across[np.argsort(distance[across], kind="stable")]


def _of_image(predictor: Predictor, image: Image, layer: str) -> tuple[torch.Tensor, NDArray[np.float64]]:
    outputs, features, _ = pooled_features(predictor, image.values[None], layer=layer)
    return outputs, features[0].numpy()


@dataclass(slots=True)
class _Asked:
    """What a network makes of images that come in parts; the layer is chosen with the first."""

    predictor: Predictor
    layer: str | None = None
    outputs: list[torch.Tensor] = field(default_factory=list)
    features: list[torch.Tensor] = field(default_factory=list)

    def ask(self, images: Sequence[NDArray[np.float32]]) -> None:
        """Ask about a part of the images, those of equal size together."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, values in enumerate(images):
            groups.setdefault(values.shape, []).append(number)
        found = []
        for numbers in groups.values():
            together = np.stack([images[number] for number in numbers])
            outputs, features, self.layer = pooled_features(self.predictor, together, layer=self.layer)
            found += list(zip(numbers, outputs, features, strict=True))
        for _, outputs, features in sorted(found, key=lambda row: row[0]):
            if outputs.ndim != 1:
                raise InputError(
                    "expected a classifier to choose cases by; got a segmenter, which returns maps"
                )
            self.outputs.append(outputs)
            self.features.append(features)

    def rows(self) -> tuple[torch.Tensor, NDArray[np.float64]]:
        """Return the raw outputs (N, K) and the features (N, F)."""
        return torch.stack(self.outputs), torch.stack(self.features).numpy()


def _check_kinds(shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise InputError for images and volumes, or grey and colour images, among the same cases."""
    kinds = sorted({(len(shape) - 1, shape[0]) for shape in shapes})
    if len(kinds) > 1:
        told = ", ".join(f"{axes}D with {channels} channel{'s' * (channels > 1)}" for axes, channels in kinds)
        raise InputError(f"expected cases of one kind; got {told}: give each kind in a folder of its own")
