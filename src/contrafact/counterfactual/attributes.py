"""Attributes: the coordinates of a generator's style space that change the score of a model.

Source: Lang et al. 2021 (StylEx, arXiv 2104.13369), AttFind. Differs: the gradient of the score by all
coordinates at once chooses the candidates, whose effects are then measured; AttFind measures every coordinate.
The effect is measured again on other samples, and on a second model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from contrafact.core import InputError, Predictor, Target, UnsupportedError, adapted
from contrafact.core.results import decides
from contrafact.core.target_kinds import PlaceTarget
from contrafact.counterfactual.bundle import Bundle
from contrafact.counterfactual.coded import WithStyles
from contrafact.counterfactual.latent_search import check_size

CANDIDATES = 4  # per attribute that is asked for
PART = 32  # images of one pass
TRUNCATION = 0.7  # of the sampled latents, as in pictures of generators: plausible patients

Measure = Callable[[Tensor], Tensor]
Place = tuple[int, int]  # layer and coordinate


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One coordinate of style space, moved so that the score rises.

    layer, coordinate  the modulated convolution, counted from the input, and the channel whose scale it is
    move       change of the style: `deviations` standard deviations with the sign that raises the score
    effect     mean change (target units) of the score by the move, over sampled images; `interval`: its 95 %
               interval over images
    again      the same on as many other samples, which did not choose the attribute
    flips      share of images whose predicted side changes, among those on the other side; None where the
               target has no sides (a value, a grade), and where no image is on the other side
    second     mean change of the second model's score on the other samples; None: no second model
    """

    layer: int
    coordinate: int
    move: float
    effect: float
    interval: tuple[float, float]
    again: float
    flips: float | None
    second: float | None


def find_attributes(
    bundle: Bundle,
    predictor: Predictor | None = None,
    target: Target | str = "class:1",
    *,
    count: int = 8,
    images: int = 48,
    deviations: float = 3.0,
    seed: int = 0,
) -> list[Attribute]:
    """Return the attributes of a bundle's generator with the greatest effect on the target, greatest first.

    predictor   None: the model of the bundle that its latent space was fitted to
    target      of the predictor, or its text
    count       number of attributes, at most
    images      number of sampled images whose scores choose them; as many others measure them again
    deviations  size of a move, in standard deviations of the coordinate over samples
    cost        for each image one pass with gradients and about 12 `count` passes of generator and model
    raises      InputError for a bundle without a latent space, a model that takes larger images than the
                generator makes, or numbers that are too small; UnsupportedError
                for a generator without style space, a model without gradients, or a target of a segmenter
    """
    if count < 1 or images < 4 or not deviations > 0:
        raise InputError(
            f"expected count from 1, images from 4 and deviations above 0; got {count}, {images}, {deviations}"
        )
    predictor = bundle.for_latent_space().predictor if predictor is None else adapted(predictor)
    target = predictor.target(target) if isinstance(target, str) else target
    check_size(predictor, bundle, bundle.latent.generator.image_shape[1:])
    if not predictor.differentiable:
        raise UnsupportedError("attributes need a model with gradients; got one without")
    if isinstance(target, PlaceTarget):
        raise UnsupportedError(
            f"attributes need a target that is the same place in every image, such as class:1; got {target}"
        )
    space = StyleSpace(bundle)
    rng = torch.Generator().manual_seed(seed)
    latents = bundle.latent.generator.sample(2 * images, rng, psi=TRUNCATION)  # type: ignore[call-arg]
    first, other = latents[:images], latents[images:]
    with predictor.frozen():
        measure = bundle.scorer(predictor, target)
        spread = [styles.std(dim=0) for styles in space.styles(latents)]
        gradients = space.gradients(first, measure)
        expected = [g.mean(dim=0) * s for g, s in zip(gradients, spread, strict=True)]
        chosen = _greatest(expected, CANDIDATES * count)
        moves = {
            place: deviations
            * float(spread[place[0]][place[1]])
            * (1 if expected[place[0]][place[1]] > 0 else -1)
            for place in chosen
        }
        before = space.scores(first, measure)
        effects = {place: space.scores(first, measure, place, move) - before for place, move in moves.items()}
        ranked = sorted(moves, key=lambda place: -float(effects[place].mean()))[:count]
        again = space.mean_changes(other, measure, {place: moves[place] for place in ranked})
    seconds = _second_changes(bundle, predictor, target, space, other, {p: moves[p] for p in ranked})
    return [
        Attribute(
            layer=place[0],
            coordinate=place[1],
            move=moves[place],
            effect=float(effects[place].mean()),
            interval=_interval(effects[place]),
            again=again[place],
            flips=_flips(before, before + effects[place], str(target)),
            second=seconds.get(place),
        )
        for place in ranked
        if float(effects[place].mean()) > 0
    ]


def frames_of(bundle: Bundle, attribute: Attribute, latents: Tensor, shares: Sequence[float]) -> Tensor:
    """Return the images (N, K, C, *S), in the bundle's units, of latents (N, d) at K shares of a move."""
    space = StyleSpace(bundle)
    frames = [
        space.moved(latents, (attribute.layer, attribute.coordinate), share * attribute.move)
        for share in shares
    ]
    return bundle.to_units(torch.stack(frames, dim=1).clamp(-1, 1))


class StyleSpace:
    """The styles of a bundle's generator: for each modulated convolution the scales (N, k) of its channels."""

    def __init__(self, bundle: Bundle) -> None:
        self.generator = bundle.latent.generator
        layers = self.generator.style_layers if isinstance(self.generator, WithStyles) else ()
        if not layers:
            raise UnsupportedError(
                f"attributes need a generator with style space, such as StyleGAN2; got a "
                f"{type(self.generator).__name__} in bundle '{bundle.name}'"
            )
        self.layers = list(layers)

    def styles(self, latents: Tensor) -> list[Tensor]:
        """Return the styles (N, k) of each layer for latents (N, d)."""
        found: list[list[Tensor]] = [[] for _ in self.layers]

        def record(number: int) -> Callable[[nn.Module, object, Tensor], None]:
            return lambda _module, _inputs, output: found[number].append(output.detach())

        with torch.no_grad(), self._hooked({n: record(n) for n in range(len(self.layers))}):
            for part in latents.split(PART):
                self.generator.decode(part)
        return [torch.cat(parts) for parts in found]

    def gradients(self, latents: Tensor, measure: Measure) -> list[Tensor]:
        """Return the gradients (N, k) of the scores by the styles of each layer."""
        rows: list[list[Tensor]] = [[] for _ in self.layers]
        for part in latents.split(PART):
            seen: dict[int, Tensor] = {}

            def add(
                number: int, seen: dict[int, Tensor] = seen
            ) -> Callable[[nn.Module, object, Tensor], Tensor]:
                def added(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
                    seen[number] = torch.zeros_like(output, requires_grad=True)
                    return output + seen[number]

                return added

            with torch.enable_grad(), self._hooked({n: add(n) for n in range(len(self.layers))}):
                total = measure(self.generator.decode(part)).sum()
                found = torch.autograd.grad(total, [seen[n] for n in range(len(self.layers))])
            for row, gradient in zip(rows, found, strict=True):
                row.append(gradient)
        return [torch.cat(parts) for parts in rows]

    def moved(self, latents: Tensor, place: Place, move: float) -> Tensor:
        """Return images (N, C, *S) in [-1, 1] with one style changed by `move`."""
        layer, coordinate = place

        def shifted(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            output = output.clone()
            output[:, coordinate] += move
            return output

        with torch.no_grad(), self._hooked({layer: shifted}):
            return torch.cat([self.generator.decode(part) for part in latents.split(PART)])

    def scores(self, latents: Tensor, measure: Measure, place: Place = (0, 0), move: float = 0.0) -> Tensor:
        """Return the scores (N,) of the latents' images with one style changed by `move`."""
        with torch.no_grad():
            return torch.cat([measure(part) for part in self.moved(latents, place, move).split(PART)])

    def mean_changes(
        self, latents: Tensor, measure: Measure, moves: Mapping[Place, float]
    ) -> dict[Place, float]:
        """Return the mean change of the scores by each move."""
        before = self.scores(latents, measure)
        return {
            place: float((self.scores(latents, measure, place, move) - before).mean())
            for place, move in moves.items()
        }

    @contextlib.contextmanager
    def _hooked(self, hooks: Mapping[int, Callable[..., Tensor | None]]) -> Iterator[None]:
        handles = [self.layers[number].register_forward_hook(hook) for number, hook in hooks.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _greatest(expected: Sequence[Tensor], count: int) -> list[Place]:
    """Return (layer, coordinate) of the greatest absolute values."""
    sizes = [len(values) for values in expected]
    order = torch.cat([values.abs() for values in expected]).argsort(descending=True)[:count].tolist()
    places = [(layer, coordinate) for layer, size in enumerate(sizes) for coordinate in range(size)]
    return [places[number] for number in order]


def _second_changes(
    bundle: Bundle,
    predictor: Predictor,
    target: Target,
    space: StyleSpace,
    latents: Tensor,
    moves: Mapping[Place, float],
) -> dict[Place, float]:
    """Return the mean changes of the second model's score; empty without one for the target."""

    def measure(images: Tensor) -> Tensor:
        scores = bundle.second_scores(predictor, target, bundle.to_units(images))
        return torch.as_tensor(scores)

    if bundle.second_scores(predictor, target, bundle.to_units(space.moved(latents[:1], (0, 0), 0.0))) is None:
        return {}
    return space.mean_changes(latents, measure, moves)


def _interval(change: Tensor) -> tuple[float, float]:
    """Return the 95 % interval of the mean of changes (N,)."""
    mean, error = float(change.mean()), 1.96 * float(change.std()) / len(change) ** 0.5
    return mean - error, mean + error


def _flips(before: Tensor, after: Tensor, target: str) -> float | None:
    """Return the share of images whose score passes the threshold of a decision, among those below it."""
    threshold = 0.0 if decides(target) else 0.5 if target.startswith("probability:") else None
    if threshold is None or not bool((before < threshold).any()):
        return None
    return float((after[before < threshold] > threshold).float().mean())
