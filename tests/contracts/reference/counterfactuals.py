"""Directions, latents, paths, masks and searches on generators whose pixels are known; the phantom bundle."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

import contrafact as cf
from bright_half import bright_bundle, grey
from contrafact.core import Counterfactual, Grid, Question
from contrafact.counterfactual import (
    Anchors,
    Bundle,
    DirectionConfig,
    LatentStatistics,
    Refinement,
    fit_direction,
)
from contrafact.counterfactual.attributes import StyleSpace, find_attributes, frames_of
from contrafact.counterfactual.bundle_parts import entry_for, opposite, resized
from contrafact.counterfactual.change_mask import AREAS, change_mask, largest_changes, smoothed, window_size
from contrafact.counterfactual.decision_boundary import decision_boundary
from contrafact.counterfactual.direction import least_step
from contrafact.counterfactual.finding_search import FindingSearch
from contrafact.counterfactual.inversion import carry_over, invert
from contrafact.counterfactual.latent_path import Gradients, LatentPath
from contrafact.counterfactual.latent_search import outcomes_of
from contrafact.counterfactual.line_integral import ImagePath, LineIntegral, boxes, mean_gradient
from contrafact.counterfactual.medxgan import spread
from contrafact.counterfactual.region import region_on_canvas
from contrafact.counterfactual.steady_gradient import steady, views_of
from contrafact.metrics import adversarial_null
from contrafact.models import BlackBox, TorchPredictor
from four_pixels import MIX, OWN, Bowl, FourPixels, bundle, image, predictor, two_scores
from linear_walk import toy
from reference.kept import brief
from two_findings import TwoFindings, four, two_findings

W = torch.tensor([[-1.0, 0.5, 0.4, 0.1], [0.6, -0.2, 1.0, 0.0], [0.1, 0.3, -0.5, 0.2]])
ROWS = torch.arange(3)
STATISTICS = LatentStatistics(torch.tensor([0.1, 0.0, -0.2, 0.0]), MIX @ MIX)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def curved(images: Tensor) -> Tensor:
    """A score of four pixels that is not linear."""
    w = images.reshape(-1, 4) * 8
    return 3 * torch.tanh(w[:, 0]) + w[:, 1] + 0.5 * w[:, 2].square() - 0.3 * w[:, 0] * w[:, 3]


def told(strip: Counterfactual) -> list[Any]:
    error = strip.reconstruction_error
    return [
        brief(strip.frames), brief(strip.change), strip.requested, strip.scores, strip.latent_distance,
        strip.origin, error if error > 1e-5 else 0.0, strip.above_tolerance, strip.outcome, strip.goal,
        strip.end, strip.flips,
    ]  # fmt: skip


def directions() -> dict[str, Any]:
    found: dict[str, Any] = {}
    target, config = predictor().target("class:1"), DirectionConfig(samples=600, bootstrap=20, draws=80)
    w = FourPixels().sample(200, rng(7)) + torch.tensor([0, 0, 0, 1.0])
    for name, more in (
        ("plain", {}),
        ("held", {"hold": [lambda x: x.reshape(-1, 4)[:, 1] * 8]}),
        ("published", {"config": dataclasses.replace(config, published=True)}),
        ("real", {"anchors": Anchors(images=FourPixels().decode(w), latents=w, gradients=True)}),
        ("sampled", {"anchors": Anchors(images=FourPixels().decode(w), latents=w)}),
    ):
        made = fit_direction(FourPixels(), curved, target=target, **{"config": config, **more})  # type: ignore[arg-type]
        fit = {k: v for k, v in made.fit.items() if k != "config"}
        found[name] = [made.alpha, made.intercept, made.step, made.deviation, made.held, fit, made.surrogate(W)]
    both, _ = two_scores()
    first, second = both.directions
    held = first.holding([second], both.latent.statistics)
    found["holding"] = [held.step, held.held, held.deviation, held.fit["condition"], both.name_of(second)]
    turned = opposite([dataclasses.replace(first, intercept=0.7)], "class:0")
    found["opposite"] = [turned.step, turned.intercept] if turned else None
    found["least step"] = list(least_step(torch.eye(4)[:, :2] * 2 + 0.1, MIX))
    found["entries"] = [
        str(entry_for({"class:1": 5}, predictor(), predictor().target(t))) for t in ("class:0", "value:1")
    ]
    return found


def statistics() -> dict[str, Any]:
    flat = LatentStatistics(torch.zeros(3), torch.diag(torch.tensor([4.0, 1.0, 1e-9])))
    made = LatentStatistics.of(FourPixels(), rng(1), samples=500)
    return {
        "of": [made.mean, made.covariance],
        "precision": [STATISTICS.precision, flat.precision],
        "factor": STATISTICS.factor @ STATISTICS.factor.t(),
        "length": [STATISTICS.length(W), flat.length(torch.eye(3))],
    }


def path_of(**more: Any) -> LatentPath:
    generator = FourPixels()
    about: dict[str, Any] = {
        "images": generator.decode(W + 0.3),
        "latents": W,
        "reconstruction": generator.decode(W),
    }
    about |= {"start": curved(generator.decode(W + 0.3)), "direction": bundle(predictor()).directions[0]}
    return LatentPath(**{"generator": generator, "statistics": STATISTICS, "measure": curved, **about, **more})


def paths() -> dict[str, Any]:
    found: dict[str, Any] = {}
    held = two_scores()[0]
    kept = held.directions[0].holding([held.directions[1]], held.latent.statistics)
    where = torch.tensor([[0.0, 1.0], [0.5, 1.0]]).expand(3, 1, 2, 2)
    offsets = 0.4 * W.flip(0)
    for name, more in (
        ("plain", {}),
        ("own", {"direction": None}),
        ("held", {"direction": kept}),
        ("steady", {"steady": steady(curved)}),
        ("masked", {"where": where}),
        ("drawn", {"blend": False}),
    ):
        path = path_of(**more)
        gradients = path._gradients(ROWS, offsets)
        longest, required = torch.tensor([0.2, 5.0, 1.0]), torch.tensor([1.0, 0.5, 2.0])
        found[name] = [
            brief(path.frame(ROWS, offsets)), path.scores(ROWS, offsets), path.line(), path.ahead(share=0.5),
            [*gradients], path._newton_step(gradients, required, longest, share=0.4),
            path.within(9 * offsets, 2.0),
            path.follow(torch.tensor([[-1.0, 0.0, 0.5, 1.0]] * 3), share=0.5, budget=1.5),
        ]  # fmt: skip
    against = Gradients(torch.zeros(3), -W, W, torch.ones(3))
    found["mixed"] = [path_of()._mixed_gradient(against, 0.7), path_of()._unit_offset(against, 0.3)]
    return found


def wide(images: Tensor) -> Tensor:
    return 4 * images[:, 0, 2:7, 3:8].mean(dim=(1, 2)) + images[:, 0, 12:].tanh().mean(dim=(1, 2))


class Blocks:
    """Two blocks of 16 x 16 pixels, as bright as two latents say, on a slope of the third."""

    image_shape, latent_size = (1, 16, 16), 3

    def decode(self, w: Tensor) -> Tensor:
        made = w[:, 2].view(-1, 1, 1, 1) * torch.linspace(-0.3, 0.3, 16).expand(len(w), 1, 16, 16)
        parts = torch.zeros(2, 1, 16, 16)
        parts[0, :, 2:7, 3:8], parts[1, :, 10:15, 9:13] = 0.5, 0.4
        return made + torch.einsum("nk,kchw->nchw", w[:, :2], parts)


def masks() -> dict[str, Any]:
    latents = torch.tensor([[-0.6, 0.1, 0.2], [0.4, 0.0, -0.5]])
    made = Blocks().decode(latents)
    path = LatentPath(
        generator=Blocks(),  # type: ignore[arg-type]
        statistics=LatentStatistics(torch.zeros(3), torch.eye(3)),
        direction=None,
        measure=wide,
        images=made,
        latents=latents,
        reconstruction=made,
        start=wide(made),
    )
    offsets = torch.tensor([[1.0, 0.7, 0.5], [-0.8, 0.3, 0.2]])
    magnitude = smoothed((Blocks().decode(latents + offsets) - made).abs())
    about: Any = {"images": np.zeros((2, 1, 7, 9), np.float32), "target": str, "grid": Grid((7, 9))}
    question = Question(predictor=predictor(), region=np.arange(63).reshape(7, 9) % 9 > 2, **about)
    region = region_on_canvas(question, torch.zeros(2, 1, 3, 3))
    return {
        "masks": [
            brief(change_mask(path, torch.arange(2), offsets, goals=None, keep=keep)) for keep in (0.5, 0.9)
        ],
        "to a goal": brief(change_mask(path, torch.arange(2), offsets, goals=wide(made) + 0.2, keep=0.3)),
        "largest": [brief(largest_changes(magnitude, area)) for area in AREAS[::5]],
        "windows": [window_size(torch.zeros(1, 1, side, 96)) for side in (16, 64, 128)],
        "views": [
            brief(view) for side in (16, 48) for view in views_of(made.repeat(1, 1, side // 16, side // 16))
        ],
        "region": region,
        "carried": [brief(carry_over(made * 2, made.flip(3)))],
        "resized": [
            brief(resized(made, (5, 9))),
            brief(resized(made[:, None], (1, 5, 9))),
            brief(resized(made[:, None], (2, 20, 9))),
        ],
        "spread": brief(spread(made.numpy())),
    }


def integrals() -> dict[str, Any]:
    knots = torch.stack([W[1], W[0], W[2]])
    line = ImagePath(FourPixels(), knots, FourPixels().decode(W[2:] + 0.2)[0], anchor=True)
    drawn = ImagePath(FourPixels(), knots, torch.zeros(1, 4, 6), anchor=False)
    found: dict[str, Any] = {"points": brief(line([0.0, 0.3, 0.5, 1.0])), "drawn": brief(drawn([0.1, 0.9]))}
    for name, groups in (("gradients", None), ("boxes", 2)):
        integral = LineIntegral(line, curved, groups=groups)
        integral.run(gap=0.01, most=12)
        found[name] = [integral.total(), integral.change, integral.gap, len(integral.scores)]
    found["boxes of"] = [boxes((5, 7), 3), boxes((2, 3, 4), 3)]
    found["mean"] = mean_gradient(line([0.0, 0.5, 1.0]), curved)
    return found


def inversions() -> dict[str, Any]:
    """Few steps: the end of a longer optimisation is decided by rounding."""
    start = lambda images: images.reshape(-1, 4) * 8 + 0.4  # noqa: E731  an encoder that misses
    images = FourPixels().decode(W)
    found: dict[str, Any] = {}
    for name, settings in (
        ("none", {"steps": 0}),
        ("plain", {"steps": 3}),
        (
            "all",
            {
                "steps": 4,
                "prior": 0.5,
                "guide": 0.3,
                "feature": 0.7,
                "anatomy": 2.0,
                "restarts": 2,
            },
        ),
    ):
        found[name] = invert(
            FourPixels(), start, images, statistics=STATISTICS, refinement=Refinement(**settings),  # type: ignore[arg-type]
            score=curved, features=lambda x: torch.cat([x, x**2], dim=1), excess=lambda w: w[:, 3].clamp_min(0),
        )  # fmt: skip
    found["boundary"] = decision_boundary(
        FourPixels(), curved, 3, rng(5), statistics=STATISTICS, steps=4, prior=0.2
    )
    generator, latents = TwoFindings(), torch.cat([W, torch.full((3, 4), 0.2)], dim=1)
    path = path_of(
        generator=generator, latents=latents, direction=None, reconstruction=generator.decode(latents),
        statistics=LatentStatistics(torch.zeros(8), torch.eye(8)),
    )  # fmt: skip
    search = FindingSearch.of(path, generator, finding=1, length=1.0, budget=1.25, price=0.3)
    offsets = torch.linspace(-1, 3, 24).reshape(3, 8)
    found["findings"] = [
        search.unit,
        search.anatomy,
        search.anatomy_distance(offsets),
        search._bounded(ROWS, offsets),
    ]
    return found


def methods() -> dict[str, Any]:
    """Each method to a goal, with steps and with levels, up and down, on models that are linear or nearly."""
    found: dict[str, Any] = {}
    model, quick = predictor(), Refinement(steps=3)
    images = [image((-1.0, 0.5, 0.2, 0.1)), image((0.8, -0.2, 0.1, 0.3))]
    asked = (
        {"frames": 3},
        {"steps": (-1.0, 2.0)},
        {"levels": (0.3, 0.8)},
        {"goal": 0.7, "frames": 4, "follow": 0.0},
    )
    two = two_findings()
    box = BlackBox(lambda x: model(x).detach().numpy(), classes=["no", "yes"], digest=model.digest)
    for number, settings in enumerate(asked):
        for name, used in (("torch", model), ("black box", box)):
            ask: dict[str, Any] = {"target": "class:1", "bundle": bundle(model), "refinement": quick}
            found[f"walk {number} {name}"] = [
                told(s) for s in cf.explain("latent-walk", used, images, **ask, **settings)
            ]
        bend = {k: v for k, v in settings.items() if k != "follow"} | {"bend": number < 2}
        ask = {
            "target": "class:0",
            "bundle": dataclasses.replace(bundle(model), directions=()),
            "refinement": quick,
        }
        found[f"shift {number}"] = [told(s) for s in cf.explain("latent-shift", model, images, **ask, **bend)]
        bend.pop("bend")
        greys = [grey(90.0), grey(150.0)]
        made = bright_bundle()
        strips = cf.explain("translate", made.predictor, greys, target="class:1", bundle=made, **bend)
        found[f"translate {number}"] = [told(strip) for strip in strips]
    for target, goal in (("class:0", None), ("class:1", 0.8), ("class:0", 0.3)):
        strips = cf.explain(
            "medxgan", two.predictor, [four(-1.0, -1, 0.2, 0.1), four(0.8, 0.5, 0.3, 0.0)], target=target,
            bundle=two, goal=goal, frames=3, keep=None, refinement=Refinement(steps=0), anatomy=None,
            follow=False,
        )  # fmt: skip
        found[f"medxgan {target} {goal}"] = [[*told(strip), dict(strip.record.notes)] for strip in strips]
    bowl = TorchPredictor(Bowl(), preprocessing=OWN, classes=["no", "yes"])
    for number, more in enumerate(({}, {"goal": 0.2}, {"anchored": False}, {"negatives": 2, "by": "product"})):
        heat = cf.explain(
            "latent-integrated-gradients", bowl, image((0.8, 0.2, 0.6, 0.3)), target="class:1",
            bundle=bundle(bowl), **more, refinement=quick,
        )  # fmt: skip
        found[f"integrated {number}"] = [brief(heat.values), dict(heat.record.notes)]
    found["null"] = [
        brief(adversarial_null(toy(side=s).walked(), blur=b, rate=0.05, rounds=60))
        for s, b in ((12, 1.0), (10, 0.0))
    ]
    ends = torch.tensor([1, 0, 0, 0, 0]).bool(), torch.tensor([0, 1, 0, 0, 0]).bool()
    found["outcomes"] = outcomes_of(
        *ends, torch.tensor([1.0, 0, 0.001, 0.5, 0.6]), torch.tensor([0, 0, 0, 1, 0]).bool()
    )
    return found


def phantom() -> dict[str, Any]:
    """The bundle that ships: what its networks make of fixed latents, and its attributes."""
    made: Bundle = cf.load_bundle("phantom")
    generator = made.latent.generator
    w = generator.sample(4, rng(5), psi=0.7)  # type: ignore[call-arg]
    target = made.predictor.target("class:1")
    with torch.no_grad():
        canvas = generator.decode(w)
        units = made.to_units(canvas.clamp(-1, 1))
        scores = {name: one(units) for name, one in made.predictors.items()}
        encoded = made.latent.encoder(canvas)
    space = StyleSpace(made)
    best = find_attributes(made, made.predictor, target, count=2, images=6)
    slopes = space.gradients(w, made.scorer(made.predictor, target))
    return {
        "images": brief(canvas),
        "scores": scores,
        "encoded": [brief(encoded), made.latent.statistics.length(encoded - w)],
        "canvas": brief(made.to_canvas(units)),
        "second": made.second_scores(made.predictor, "class:1", units),
        "direction": made.direction(made.predictor, made.predictor.target("class:0")).surrogate(w),
        "methods": [made.own_method, made.method_for(made.predictor, target)],
        "styles": [brief(layer) for layer in space.styles(w)],
        "slopes": [brief(layer) for layer in slopes],
        "attributes": [dataclasses.asdict(one) for one in best],
        "frames": brief(frames_of(made, best[0], w[:2], (-0.5, 1.0))),
    }


def values() -> dict[str, Any]:
    parts = (directions, statistics, paths, masks, integrals, inversions, methods, phantom)
    return {part.__name__: part() for part in parts}
