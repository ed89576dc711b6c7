"""The bundle: a trained generator with its encoder, latent statistics, directions and models."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from contrafact.core import (
    Encoder,
    Generator,
    ImageTranslator,
    InputError,
    Predictor,
    Target,
    adapted,
    engines,
    fingerprint,
    nearest,
)
from contrafact.core.contents import digest_of_content
from contrafact.core.protocols import input_size
from contrafact.counterfactual.bundle_parts import (
    KnownDigests,
    LatentSpace,
    Translation,
    check_values,
    entry_for,
    opposite,
    resized,
    scores_by,
)
from contrafact.counterfactual.coded import Coded, WithLevels, WithNegative
from contrafact.counterfactual.direction import Direction
from contrafact.counterfactual.latent_statistics import LatentStatistics

LEVELS = (-2.2, 2.2)  # log-odds without and with a finding (0.1 and 0.9), unless the generator has its own


@dataclass(frozen=True, eq=False, kw_only=True)  # no slots: hashes are kept
class Bundle:
    """A trained generator of one kind of image, with everything that explains one or more models with it.

    A bundle has a latent space (generator, encoder, statistics), a translator, or both.

    window      (low, high) in image units, which the generator represents as -1 and 1
    crop        treatment of images of other proportions in training: "squeeze" (resized without keeping the
                proportions, as here too), or "center" (cropped; here such images are refused)
    least       side of the smallest images, which are enlarged to the bundle's image size; None: images below
                that size are refused
    predictor   the model under study; `predictors` holds others of the same cohort by name
    seconds     by the name of one of `predictors`: an independently trained model of another architecture for
                the same task, which confirms or contradicts a counterfactual; no search uses it
    directions  one fitted direction per (model, target)
    findings    (model, target) of each code, for a generator with codes for findings
    card        data, licence and measured results, as in `bundle.json` and the model card
    translator  network that generates the frames of `translate` in one pass; `translations`: its targets
    engine      name of the method behind "counterfactual": the one with the best results for this bundle
    found       cache of inverted latents (N, d) by request, shared between questions; None: no cache
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
    _digest_of: KnownDigests = field(default_factory=KnownDigests, init=False, repr=False)

    def __post_init__(self) -> None:
        own = None if self.predictor is None else adapted(self.predictor)
        object.__setattr__(self, "predictor", own)
        for name in ("predictors", "seconds"):
            models = {key: adapted(model) for key, model in getattr(self, name).items()}
            object.__setattr__(self, name, models)

    @property
    def latent(self) -> LatentSpace:
        """Return generator, encoder and statistics. Raise InputError for a bundle without a latent space."""
        if self.generator is None or self.encoder is None or self.statistics is None:
            raise InputError(
                f"bundle '{self.name}' has no latent space, only a translator: use translate, "
                "or fit a generator"
            )
        return LatentSpace(self.generator, self.encoder, self.statistics)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Return the shape (C, *S) of the images that the bundle's preferred engine generates."""
        network = self.network_of(self.engine or "")
        if network is None:
            raise InputError(f"bundle '{self.name}' has neither a generator nor a translator")
        return network.image_shape

    @property
    def generator_digest(self) -> str:
        """Return the digest of the generator's current weights, layers and source."""
        return self._digest_of(self.translator if self.generator is None else self.generator)

    @property
    def digest(self) -> str:
        """Return the digest of everything that a counterfactual depends on: generator, encoder, window,
        statistics, directions, findings, translator, and the bundle's models."""
        models = sorted((name, p.digest) for name, p in self.predictors.items())
        models += sorted((f"second of {name}", p.digest) for name, p in self.seconds.items())
        own = "" if self.predictor is None else self.predictor.digest
        parts = [self.generator_digest, self._digest_of(self.encoder), self.window, self.crop]
        parts += [] if self.least is None else [str(self.least)]
        translator = [] if self.translator is None else [self._digest_of(self.translator), *self.translations]
        values = digest_of_content(list(self._digested_values()))
        return fingerprint(parts, values, own, models, *map(str, translator))

    @property
    def hashes(self) -> dict[str, str]:
        """Return both digests under the names that records and cards use."""
        return {"bundle": self.digest, "generator": self.generator_digest}

    def network_of(self, method: str) -> Any:
        """Return the network that makes the frames of a method: the translator for those that need its
        translations, else the generator; the only one where the bundle has one."""
        translates = engines().get(method) == "translations" and self.translator is not None
        return self.translator if translates or self.generator is None else self.generator

    def hashes_of(self, method: str) -> dict[str, str]:
        """Return the bundle's digest and that of the network that makes the frames of a method."""
        return {"bundle": self.digest, "generator": self._digest_of(self.network_of(method))}

    def _digested_values(self) -> Iterator[Any]:
        """Yield the values of statistics, directions and findings that enter the digest."""
        if self.statistics is not None:
            yield self.statistics.mean, self.statistics.covariance
            if self.statistics.curvature is not None:
                yield self.statistics.curvature
        for fitted in self.directions:
            yield fitted.alpha, fitted.step, fitted.held, float(fitted.intercept), float(fitted.deviation)
            yield fitted.target, fitted.model, fitted.fit.get("classes")
        yield [list(pair) for pair in self.findings]

    def predict(self, images: Any) -> Tensor:
        """Return the class probabilities (N, K) of `predictor` for images (N, C, H, W), or for a list of
        `Image`, in the bundle's units."""
        if isinstance(images, (list, tuple)):
            images = torch.stack([torch.as_tensor(image.values) for image in images])
        with self.predictor.frozen(), torch.no_grad():
            probabilities: Tensor = self.predictor.probabilities(self.predictor(images))
        return probabilities

    def second_model(self, predictor: Predictor) -> Any:
        """Return the second model of one of the bundle's predictors, or None."""
        own = predictor.digest
        names = [name for name, known in self.predictors.items() if known.digest == own]
        return next((self.seconds[name] for name in names if name in self.seconds), None)

    def second_scores(self, predictor: Predictor, target: Target, frames: Any) -> Any:
        """Return the second model's scores (K,) of frames (K, C, *S) for a target; None where there is no
        second model, or it has no such target."""
        second = self.second_model(predictor)
        return None if second is None else scores_by(second, target, frames, predictor)

    def direction(self, predictor: Predictor, target: Target) -> Direction:
        """Return the direction that was fitted for a predictor and a target.

        raises  InputError for a model or a target without a direction; the message lists the fitted targets
        """
        self.latent  # noqa: B018  raises for a bundle without a latent space
        model = predictor.digest
        fitted = [d for d in self.directions if d.model == model]
        if not fitted:
            raise self._fitted_to_others(
                predictor,
                [d.model for d in self.directions],
                "a direction: contrafact fit CONFIG --stage direction",
            )
        for direction in fitted:
            if direction.target == str(target):
                return direction
        negated = opposite(fitted, str(target))
        if negated is not None:
            return negated
        raise InputError(
            f"bundle '{self.name}' has directions for {', '.join(d.target for d in fitted)}; "
            f"got target '{target}'"
        )

    def name_of(self, direction: Direction) -> str:
        """Return `PREDICTOR/TARGET`, the name of a direction in `hold`."""
        names = {p.digest: name for name, p in self.predictors.items()}
        return f"{names.get(direction.model, direction.model)}/{direction.target}"

    def holding(self, direction: Direction, names: Sequence[str]) -> Direction:
        """Return the direction adjusted to keep the scores of other directions constant; `names` as in
        `name_of`. Raise InputError for an unknown name."""
        own = self.name_of(direction)
        known = {name: d for d in self.directions if (name := self.name_of(d)) != own}
        for name in names:
            if name not in known:
                rest = ", ".join(known) or "nothing"
                raise InputError(
                    f"bundle '{self.name}' can keep {rest} constant; got '{name}'{nearest(name, known)}"
                )
        return direction.holding([known[name] for name in names], self.latent.statistics)

    def finding(self, predictor: Predictor, target: Target) -> tuple[int, int]:
        """Return the index of the code of a target's finding, and 1; or -1 for the opposite of two classes.

        raises  InputError for a model or a target without a code
        """
        codes = {t: n for n, (m, t) in enumerate(self.findings) if m == predictor.digest}
        if not codes:
            raise self._fitted_to_others(
                predictor,
                [model for model, _ in self.findings],
                "a generator: contrafact fit CONFIG with family = 'medxgan'",
            )
        match = entry_for(codes, predictor, target)
        if match is not None:
            return match
        raise InputError(f"bundle '{self.name}' has findings for {', '.join(codes)}; got target '{target}'")

    def _methods_of(self, predictor: Predictor) -> list[str]:
        """Return the counterfactual methods that the bundle has a part for, fitted to this model."""
        fitted = {
            "translate": {entry.model for entry in self.translations},
            "medxgan": {model for model, _ in self.findings},
            "latent-walk": {direction.model for direction in self.directions},
        }
        return [name for name, models in fitted.items() if predictor.digest in models]

    def _fitted_to_others(self, predictor: Predictor, models: Sequence[str], fit: str) -> InputError:
        """Return the error for a model that is none of `models` (digests): it names these and a way out."""
        names = ", ".join(name for name, known in self.predictors.items() if known.digest in models)
        able = " or ".join(self._methods_of(predictor))
        return InputError(
            f"bundle '{self.name}' was fitted to other models: this method expects its predictor "
            f"{names or '(none)'}; got another model; "
            + (f"use {able} for this one" if able else "give that one (--model)")
            + f", or fit {fit}"
        )

    def predictor_of(self, digest: str) -> Any:
        """Return the bundle's predictor with that digest. Raise InputError where there is none."""
        matches = [known for known in self.predictors.values() if known.digest == digest]
        if not matches:
            raise InputError(f"bundle '{self.name}' has no model of digest {digest[:12]}")
        return matches[0]

    def translation(self, predictor: Predictor, target: Target) -> tuple[Translation, int]:
        """Return the translator's entry for a target, and 1; or -1 for the opposite of two classes.

        raises  InputError without a translator, for another model, or for a target without training
        """
        if self.translator is None:
            raise InputError(
                f"bundle '{self.name}' has no translator; use {self.method_for(predictor, target)}"
            )
        known = {entry.target: entry for entry in self.translations if entry.model == predictor.digest}
        if not known:
            raise self._fitted_to_others(
                predictor,
                [entry.model for entry in self.translations],
                "a translator: contrafact fit CONFIG with family = 'translator'",
            )
        match = entry_for(known, predictor, target)
        if match is not None:
            return match
        raise InputError(f"bundle '{self.name}' translates {', '.join(known)}; got target '{target}'")

    def for_latent_space(self) -> Bundle:
        """Return the bundle with the model as its `predictor` that its directions or findings were fitted to: a
        latent space of smaller images has a model of its own."""
        fitted = {*(one.model for one in self.directions), *(model for model, _ in self.findings)}
        models = [*([] if self.predictor is None else [self.predictor]), *self.predictors.values()]
        own = [p for p in models if p.digest in fitted]
        return dataclasses.replace(self, predictor=own[0]) if own else self

    @property
    def own_method(self) -> str:
        """The method behind "counterfactual" where no target is named: the engine, or the first that the bundle
        has the parts for."""
        parts = {"translate": self.translations, "medxgan": self.findings, "latent-walk": self.directions}
        return self.engine or next((name for name, part in parts.items() if part), "latent-walk")

    def knows(self, part: str, predictor: Predictor, target: Target) -> bool:
        """Whether a part (directions, findings or translations) has an entry for a model's target; always for
        no part."""
        if not part:
            return True
        missing = {"findings": not isinstance(self.generator, Coded), "translations": self.translator is None}
        if missing.get(part):  # the error of a missing translator asks for the method in its place
            return False
        find: Any = {"directions": self.direction, "findings": self.finding, "translations": self.translation}
        with contextlib.suppress(InputError):
            find[part](predictor, target)
            return True
        return False

    def method_for(self, predictor: Predictor, target: Target) -> str:
        """Return the name of the method behind "counterfactual" for a target: the bundle's engine where it
        supports the target, else the first method that does."""
        known = engines()
        for name in dict.fromkeys((self.engine or "translate", "translate", "medxgan", "latent-walk")):
            if name in known and self.knows(known[name], predictor, target):
                return name
        return next(iter(self._methods_of(predictor)), self.own_method)  # its error names the known targets

    def of_other_sizes(self, predictor: Predictor) -> list[Any]:
        """Return the bundle's models of the same classes for images of another size."""
        size = input_size(predictor)
        if not size:
            return []
        same = [p for p in self.predictors.values() if p.classes == predictor.classes]
        return [p for p in same if input_size(p) not in (None, size)]

    def second_engine(self, method: str, predictor: Predictor, target: Target) -> tuple[str, Any] | None:
        """Return an engine whose frames another network makes than those of a method, and the model that it
        explains: the same, or one of the same classes for images of another size. None without one."""
        for name, part in engines().items():
            if not part or self.network_of(name) is self.network_of(method):
                continue
            for model in (predictor, *self.of_other_sizes(predictor)):
                if self.knows(part, model, target):
                    return name, model
        return None

    def excess(self, predictor: Predictor, target: Target) -> Callable[[Tensor], Tensor] | None:
        """Return a function of latents (N, d) that measures how much of the finding their anatomy contains.

        It gives (N,): the score of the anatomy without the finding's code, above the score of a negative image,
        in units of the difference between the two classes. None where the target has no code.
        """
        generator = self.latent.generator
        if not isinstance(generator, WithNegative):
            return None
        try:
            number, sign = self.finding(predictor, target)
        except InputError:
            return None
        low, high = generator.levels[number].tolist() if isinstance(generator, WithLevels) else LEVELS
        score = self.scorer(predictor, target)

        def excess(latents: Tensor) -> Tensor:
            scores = sign * score(generator.decode(generator.negative(latents)))
            return ((scores - low) / (high - low)).clamp_min(0.0)

        return excess

    def scorer(self, predictor: Predictor, target: Target) -> Callable[[Tensor], Tensor]:
        """Return a function of images (N, C, *S) in [-1, 1] that gives their scores (N,) for the target."""
        return lambda images: target(predictor(self.to_units(images)))

    def to_canvas(self, images: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
        """Return images (N, C, *S) rescaled to [-1, 1] and reduced to a shape (C, *S); None: the generator's.

        raises  InputError for other channels or dimensions, images that are too small, other proportions where
                the bundle was fitted to cropped images, and values outside the bundle's window, or all in
                its lowest hundredth
        """
        channels, *size = shape or self.latent.generator.image_shape
        low, high = self.window
        if images.ndim != len(size) + 2 or images.shape[1] != channels:
            raise InputError(
                f"bundle '{self.name}' expects {channels}-channel {len(size)}D images; "
                f"got shape {tuple(images.shape)}"
            )
        least = [self.least or need for need in size]
        if any(have < need for have, need in zip(images.shape[2:], least, strict=True)):
            have, need = (" x ".join(map(str, sides)) for sides in (images.shape[2:], least))
            raise InputError(f"bundle '{self.name}' expects at least {need} pixels; got {have}")
        ratios = [have / need for have, need in zip(images.shape[2:], size, strict=True)]
        if self.crop == "center" and max(ratios) - min(ratios) > 0.02 * max(ratios):
            raise InputError(
                f"bundle '{self.name}' was fitted to centre crops; got an image of "
                f"{' x '.join(map(str, images.shape[2:]))}: crop it to the same proportions first"
            )
        check_values(images, self.window, self.name)
        if tuple(images.shape[2:]) != tuple(size):
            images = resized(images, tuple(size))
        return (images - low) / (high - low) * 2 - 1

    def to_units(self, canvas: Tensor) -> Tensor:
        """Return images (N, C, *S) in [-1, 1] converted to image units."""
        low, high = self.window
        return (canvas + 1) / 2 * (high - low) + low
