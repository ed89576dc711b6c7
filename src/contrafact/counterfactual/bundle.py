"""Everything a counterfactual needs, together: generator, encoder, directions, statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import (
    Encoder,
    Generator,
    ImageTranslator,
    InputError,
    Predictor,
    Target,
    fingerprint,
    nearest,
)
from contrafact.core.contents import digest_of_content
from contrafact.counterfactual.direction import Direction
from contrafact.counterfactual.latent_statistics import LatentStatistics

LEVELS = (-2.2, 2.2)  # log-odds without and with a finding, unless the generator says: 0.1 and 0.9
OTHER = {"class:0": "class:1", "class:1": "class:0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A target that the bundle's translator knows.

    model, target  digest of the predictor, and the target's text
    number         which of the translator's scores it is
    by             (digest, text) of the score that conditions the translator, where that is another one that
                   rises and falls with this; None: the target's own
    """

    model: str
    target: str
    number: int = 0
    by: tuple[str, str] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)  # no slots: hashes are kept
class Bundle:
    """A trained generator of one kind of image, with what explains one or more models by it.

    A bundle has a latent space (generator, encoder, statistics), a translator, or both.

    window      (low, high) image units that the generator draws as -1 and 1
    crop        how images of other proportions were treated in training: "squeeze" (so they are here), or
                "center" (cut, and refused here)
    least       side of the smallest images that are enlarged to the size at which the bundle works; None:
                smaller images are refused
    predictor   the model under study; `predictors` holds others of the same cohort by name
    seconds     by the name of one of `predictors`: another model of the same question, of another architecture
                and trained apart, which confirms a counterfactual or does not; it takes part in no search
    directions  one per (model, target) that was fitted
    findings    (model, target) of each code of a generator that has codes for findings
    card        data, licence, measured figures: what `bundle.json` and the model card say
    translator  makes the frames of `translate` in one pass; `translations`: the targets it knows
    engine      the method behind "counterfactual": the one that did best where this bundle was measured
    found       latents (N, d) by what was asked, kept from one question to the next; None: none are kept
    """

    name: str
    window: tuple[float, float]
    generator: Generator | None = None
    encoder: Encoder | None = None
    statistics: LatentStatistics | None = None
    directions: tuple[Direction, ...] = ()
    findings: tuple[tuple[str, str], ...] = ()
    crop: str = "squeeze"
    least: int | None = None
    predictor: Any = None
    predictors: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    translator: ImageTranslator | None = None
    translations: tuple[Translation, ...] = ()
    engine: str | None = None
    found: MutableMapping[str, Tensor] | None = None

    @property
    def latent(self) -> LatentSpace:
        """Generator, encoder and statistics; InputError for a bundle without."""
        if self.generator is None or self.encoder is None or self.statistics is None:
            raise InputError(
                f"bundle '{self.name}' has no latent space, only a translator: use translate, "
                "or fit a generator"
            )
        return LatentSpace(self.generator, self.encoder, self.statistics)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, *S) of the images that the bundle's own engine makes."""
        maker = self.translator if self.generator is None or self.engine == "translate" else self.generator
        if maker is None:
            raise InputError(f"bundle '{self.name}' has neither a generator nor a translator")
        return maker.image_shape

    @property
    def generator_digest(self) -> str:
        """Digest of the generator: weights, layers and source, as they are now."""
        return digest_of_content(self.translator if self.generator is None else self.generator)

    @property
    def digest(self) -> str:
        """The same of all that a counterfactual depends on: generator, encoder, window, statistics, directions,
        findings, and the bundle's models."""
        models = sorted((name, getattr(p, "digest", "")) for name, p in self.predictors.items())
        models += sorted((f"second of {name}", getattr(p, "digest", "")) for name, p in self.seconds.items())
        own = getattr(self.predictor, "digest", "")
        parts = [self.generator_digest, digest_of_content(self.encoder), self.window, self.crop]
        parts += [] if self.least is None else [str(self.least)]
        made = [] if self.translator is None else [digest_of_content(self.translator), *self.translations]
        return fingerprint(parts, digest_of_content(list(self._numbers())), own, models, *map(str, made))

    @property
    def hashes(self) -> dict[str, str]:
        """Both, as records and cards hold them."""
        return {"bundle": self.digest, "generator": self.generator_digest}

    def _numbers(self) -> Iterator[Any]:
        if self.statistics is not None:
            yield self.statistics.mean, self.statistics.covariance
        for one in self.directions:
            yield one.alpha, one.step, one.held, float(one.intercept), float(one.deviation)
            yield one.target, one.model, one.fit.get("classes")
        yield [list(pair) for pair in self.findings]

    def predict(self, images: Any) -> Tensor:
        """Class probabilities (N, K) of `predictor` for images (N, C, H, W), or a list of
        `Image`, in the bundle's units."""
        if isinstance(images, (list, tuple)):
            images = torch.stack([torch.as_tensor(image.values) for image in images])
        with getattr(self.predictor, "frozen", contextlib.nullcontext)(), torch.no_grad():
            probabilities: Tensor = self.predictor.probabilities(self.predictor(images))
        return probabilities

    def second_model(self, predictor: Predictor) -> Any:
        """The second model for one of the bundle's predictors, or None."""
        own = getattr(predictor, "digest", None)
        names = [name for name, known in self.predictors.items() if getattr(known, "digest", "") == own]
        return next((self.seconds[name] for name in names if name in self.seconds), None)

    def second_scores(self, predictor: Predictor, target: str, frames: Any) -> Any:
        """Scores (K,) of frames (K, C, *S) by the second model, for the target of that name; None where there
        is no second model, or it has no such target."""
        second = self.second_model(predictor)
        if second is None:
            return None
        try:
            measure = second.target(target)
        except InputError:
            return None
        with second.frozen(), torch.no_grad():
            return measure(second(frames)).double().cpu().numpy()

    def direction(self, predictor: Predictor, target: Target) -> Direction:
        """The fitted direction; an unknown target is answered with those that exist."""
        self.latent  # noqa: B018  says so where there is none
        model = getattr(predictor, "digest", "")
        mine = [d for d in self.directions if d.model == model]
        if not mine:
            raise InputError(
                f"bundle '{self.name}' was fitted to other models; expected one of its predictors, "
                "or fit a direction for this one: contrafact fit CONFIG --stage direction"
            )
        for direction in mine:
            if direction.target == str(target):
                return direction
        opposite = _opposite(mine, str(target))
        if opposite is not None:
            return opposite
        raise InputError(
            f"bundle '{self.name}' has directions for {', '.join(d.target for d in mine)}; "
            f"got target '{target}'"
        )

    def name_of(self, direction: Direction) -> str:
        """`PREDICTOR/TARGET` of a direction, by which it can be held."""
        names = {getattr(p, "digest", ""): name for name, p in self.predictors.items()}
        return f"{names.get(direction.model, direction.model)}/{direction.target}"

    def holding(self, direction: Direction, names: Sequence[str]) -> Direction:
        """The direction that leaves the scores of others, by `name_of`, as they are."""
        own = self.name_of(direction)
        known = {name: d for d in self.directions if (name := self.name_of(d)) != own}
        for name in names:
            if name not in known:
                rest = ", ".join(known) or "nothing"
                raise InputError(f"bundle '{self.name}' can hold {rest}; got '{name}'{nearest(name, known)}")
        return direction.holding([known[name] for name in names], self.latent.statistics)

    def finding(self, predictor: Predictor, target: Target) -> tuple[int, int]:
        """The code that answers to a target, and 1, or -1 for the other one of two classes."""
        mine = {t: n for n, (m, t) in enumerate(self.findings) if m == getattr(predictor, "digest", "")}
        if not mine:
            raise InputError(
                f"bundle '{self.name}' was fitted to other models; expected one of its predictors, or fit one "
                "to this model: contrafact fit CONFIG with family = 'medxgan'"
            )
        if str(target) in mine:
            return mine[str(target)], 1
        other = OTHER.get(str(target), "")
        exclusive = getattr(predictor, "output", "") in ("logits", "probabilities")
        if other in mine and exclusive and len(getattr(predictor, "classes", ())) == 2:
            return mine[other], -1
        raise InputError(f"bundle '{self.name}' has findings for {', '.join(mine)}; got target '{target}'")

    def predictor_of(self, digest: str) -> Any:
        """The bundle's predictor of that digest."""
        found = [one for one in self.predictors.values() if getattr(one, "digest", "") == digest]
        if not found:
            raise InputError(f"bundle '{self.name}' has no model of digest {digest[:12]}")
        return found[0]

    def translation(self, predictor: Predictor, target: Target) -> tuple[Translation, float]:
        """What the translator knows of a target, and 1, or -1 for the other one of two classes.

        raises  InputError without a translator, for another model, or a target that it was not trained on
        """
        if self.translator is None:
            raise InputError(
                f"bundle '{self.name}' has no translator; use {self.method_for(predictor, target)}"
            )
        mine = {one.target: one for one in self.translations if one.model == getattr(predictor, "digest", "")}
        if not mine:
            raise InputError(
                f"bundle '{self.name}' was fitted to other models; expected one of its predictors, or "
                "fit one to this model: contrafact fit CONFIG with family = 'translator'"
            )
        if str(target) in mine:
            return mine[str(target)], 1.0
        other = OTHER.get(str(target), "")
        exclusive = getattr(predictor, "output", "") in ("logits", "probabilities")
        if other in mine and exclusive and len(getattr(predictor, "classes", ())) == 2:
            return mine[other], -1.0
        raise InputError(f"bundle '{self.name}' translates {', '.join(mine)}; got target '{target}'")

    def method_for(self, predictor: Predictor, target: Target) -> str:
        """The name of the method behind "counterfactual" for a target: the bundle's engine where that knows the
        target, else the first that does."""
        known = {
            "translate": lambda: self.translator is not None and self.translation(predictor, target),
            "medxgan": lambda: self.finding(predictor, target),
            "latent-walk": lambda: self.direction(predictor, target),
        }
        for name in dict.fromkeys((self.engine or "translate", *known)):
            with contextlib.suppress(InputError):
                if name in known and known[name]():
                    return name
        return "latent-walk"

    def excess(self, predictor: Predictor, target: Target) -> Callable[[Tensor], Tensor] | None:
        """Latents to how far the score (N,) of their anatomy alone is above that of a negative image, in
        units of the gap between the classes; None where no code answers to the target."""
        generator = self.latent.generator
        negative = getattr(generator, "negative", None)
        if negative is None:
            return None
        try:
            number, sign = self.finding(predictor, target)
        except InputError:
            return None
        low, high = getattr(generator, "levels", torch.tensor([LEVELS]))[number].tolist()
        score = self.scorer(predictor, target)

        def above(latents: Tensor) -> Tensor:
            found = sign * score(generator.decode(negative(latents)))
            return ((found - low) / (high - low)).clamp_min(0.0)

        return above

    def scorer(self, predictor: Predictor, target: Target) -> Callable[[Tensor], Tensor]:
        """Images in [-1, 1] to scores (N,)."""
        return lambda images: target(predictor(self.to_units(images)))

    def to_canvas(self, images: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
        """Images (N, C, *S) in their units to range [-1, 1] and a shape (C, *S); None: the generator's."""
        channels, *size = shape or self.latent.generator.image_shape
        low, high = self.window
        slack = 0.02 * (high - low)
        if images.ndim != len(size) + 2 or images.shape[1] != channels:
            raise InputError(
                f"bundle '{self.name}' draws {channels}-channel {len(size)}D images; got {tuple(images.shape)}"
            )
        if any(have < (self.least or need) for have, need in zip(images.shape[2:], size, strict=True)):
            have, need = (" x ".join(map(str, sides)) for sides in (images.shape[2:], size))
            raise InputError(f"bundle '{self.name}' draws {need} pixels; got the smaller {have}")
        ratios = [have / need for have, need in zip(images.shape[2:], size, strict=True)]
        if self.crop == "center" and max(ratios) - min(ratios) > 0.02 * max(ratios):
            raise InputError(
                f"bundle '{self.name}' was fitted on the middle of images, cut out; got sides of "
                f"{' x '.join(map(str, images.shape[2:]))}: cut the image to the same proportions first"
            )
        least, greatest = float(images.min()), float(images.max())
        if least < low - slack or greatest > high + slack:
            raise InputError(
                f"bundle '{self.name}' takes values from {low:g} to {high:g}; got {least:g} to "
                f"{greatest:g}; use image.rescaled({low:g}, {high:g}), or --rescale"
            )
        if tuple(images.shape[2:]) != tuple(size):
            images = _resized(images, tuple(size))
        return (images - low) / (high - low) * 2 - 1

    def to_units(self, canvas: Tensor) -> Tensor:
        """[-1, 1] back to image units."""
        low, high = self.window
        return (canvas + 1) / 2 * (high - low) + low


@dataclass(frozen=True, slots=True, eq=False)
class LatentSpace:
    """Latents to images, images to latents, and how sampled latents are spread."""

    generator: Generator
    encoder: Encoder
    statistics: LatentStatistics


def _resized(images: Tensor, size: tuple[int, ...]) -> Tensor:
    if len(size) == 2:
        return F.interpolate(images, size, mode="bilinear", antialias=True)
    larger = any(have < need for have, need in zip(images.shape[2:], size, strict=True))
    return F.interpolate(images, size, mode="trilinear" if larger else "area")


def _opposite(directions: list[Direction], target: str) -> Direction | None:
    """For two classes the log-odds of one are minus those of the other."""
    other = OTHER.get(target)
    for direction in directions:
        if direction.target == other and direction.fit.get("classes") == 2:
            return Direction(
                alpha=-direction.alpha,
                intercept=-direction.intercept,
                step=-direction.step,
                deviation=direction.deviation,
                target=target,
                model=direction.model,
                fit=direction.fit,
                held=direction.held,
            )
    return None
