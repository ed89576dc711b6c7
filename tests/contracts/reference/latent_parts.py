"""Searches, inversion, line integrals and directions, each alone, in the world of `latent_edges`."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contrafact.core import Grid, Question
from contrafact.counterfactual import (
    Anchors,
    Direction,
    DirectionConfig,
    LatentStatistics,
    Refinement,
    decision_boundary,
    direction,
    fit_direction,
    invert,
    latent_search,
    least_step,
    line_integral,
)
from contrafact.counterfactual.finding_search import FindingSearch
from contrafact.models import BlackBox, TorchPredictor
from reference.heatmaps import network
from reference.kept import asked, brief, tried
from reference.latent_edges import LATENT, MAKER, SIDE, STATISTICS, Nearly, draw, path, rough, score


def searches() -> dict[str, Any]:
    one = path()
    made = [
        FindingSearch.of(one, MAKER, finding=n, length=1.3, budget=budget, price=price)
        for n, budget, price in ((0, 1.25, 0.3), (1, 0.5, None))
    ]
    rows, offsets = torch.arange(3), 0.5 * draw(3, LATENT, seed=8)
    goals, adds, where = (
        one.start + torch.tensor([1.0, -0.7, 0.2]),
        torch.tensor([True, False, True]),
        torch.ones(3, 1, SIDE, SIDE),
    )
    found: dict[str, Any] = {
        "findings": [
            [
                brief(f.unit),
                f.anatomy_distance(offsets),
                brief(f(rows, offsets, goals, adds, where)),
                brief(f._bounded(rows, 4 * offsets)),
            ]
            for f in made
        ]
    }
    images = one.images
    for name, refinement in {
        "none": Refinement(steps=0),
        "plain": Refinement(steps=5),
        "all": Refinement(steps=4, guide=0.3, feature=0.2, anatomy=0.7, prior=0.5),
        "again": Refinement(steps=3, restarts=2),
    }.items():
        found[name] = [
            brief(invert(MAKER, Nearly(), images, statistics=STATISTICS, refinement=refinement, **more))  # type: ignore[arg-type]
            for more in (
                {},
                {"score": score, "features": lambda x: x.square(), "excess": lambda w: w[:, 0] - w[:, 1]},
            )
        ]
    found["statistics"] = [
        brief(STATISTICS.precision @ STATISTICS.covariance),
        brief(STATISTICS.factor @ STATISTICS.factor.t()),
        STATISTICS.length(offsets),
    ]
    flat = LatentStatistics(torch.zeros(2), torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
    found["flat"] = [flat.precision, flat.factor, flat.length(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))]
    found["boundary"] = [
        brief(
            decision_boundary(MAKER, score, 2, torch.Generator().manual_seed(2), statistics=s, steps=9, prior=p)
        )
        for s, p in ((STATISTICS, 0.01), (STATISTICS, 2.0), (None, 0.1))
    ]
    found["refused"] = tried(
        lambda: decision_boundary(MAKER, score, 0, torch.Generator()),
        lambda: decision_boundary(MAKER, lambda x: score(x).detach(), 1, torch.Generator()),
        *(
            lambda name=name: str(Refinement(**{name: -1}))
            for name in ("steps", "prior", "guide", "feature", "anatomy", "restarts")
        ),
        *(
            functools.partial(
                latent_search.check_requests,
                **{"goal": None, "steps": None, "levels": None, "frames": 9, **more},
            )
            for more in (
                {"frames": 1},
                {"frames": 2},
                {"frames": 2.0},
                {"goal": 1, "steps": [1]},
                {"steps": []},
                {"steps": 3},
                {"steps": ["a"]},
                {"levels": [np.inf]},
                {"levels": (1, 2.5)},
            )
        ),
        *(
            lambda more=more: str(latent_search.SearchSettings(**more))
            for more in ({"budget": 0}, {"follow": 1.1}, {"follow": -0.1}, {"budget": 1e-9, "follow": 1})
        ),
        lambda: latent_search.bundle_of(
            Question(
                predictor=BlackBox(len, digest="x"),
                images=images.numpy(),
                target=None,
                grid=Grid((6, 6)),
                bundle=3,
            ),
            "m",
        ),  # type: ignore[arg-type]
    )
    flags = torch.tensor([False, False, False, False, True]), torch.tensor([True, False, False, False, False])
    found["outcomes"] = [
        latent_search.outcomes_of(
            flags[0],
            flags[1],
            torch.tensor([1.0, 0.05, 0.06, 0.06, 0.0]),
            torch.tensor([True, True, True, False, False]),
        )
    ]
    targets = [
        TorchPredictor(network(2), classes="abc", output=kind).target(text)
        for kind, text in (("logits", "class:1"), ("logits", "value:0"), ("logits", "probability:1"))
    ]
    found["goals"] = [
        asked(lambda t=t, g=g, s=s: latent_search.goal_score(t, g, s))
        for t in targets
        for g in (None, 0.3)
        for s in (-1.0, 0.0, 2.0)
    ]  # type: ignore[misc]
    return found


def integrals() -> dict[str, Any]:
    knots, image = draw(4, LATENT, seed=4), draw(1, SIDE, SIDE, seed=5) * 0.3
    found: dict[str, Any] = {}
    for anchor, big in ((True, image), (False, image), (True, draw(1, 9, 8, seed=5))):
        made = line_integral.ImagePath(MAKER, knots, big, anchor=anchor)
        found[f"path {anchor} {len(big[0])}"] = brief(made([0.0, 0.2, 1 / 3, 0.9, 1.0]))
    plain = line_integral.ImagePath(MAKER, knots, image, anchor=True)
    for groups, gap, most in ((None, 0.01, 40), (None, 0.5, 129), (None, 0.0, 12), (2, 0.1, 9), (3, 0.01, 12)):
        integral = line_integral.LineIntegral(plain, rough, groups=groups)
        integral.run(gap=gap, most=most)
        found[f"{groups} {gap} {most}"] = [
            len(integral.scores),
            integral.gap,
            integral.change,
            brief(integral.total()),
            sum(abs(e) for e in integral.errors().values()),
        ]
    found["boxes"] = [line_integral.boxes(size, n) for size, n in (((5, 7), 3), ((2, 3), 4), ((3, 4, 5), 2))]
    found["mean"] = brief(line_integral.mean_gradient(plain([0.0, 0.5, 1.0]), score))
    found["refused"] = tried(lambda: line_integral.gradients_of(lambda x: score(x).detach(), plain([0.0])))
    found["scores"] = line_integral.scores_of(score, plain([i / 70 for i in range(70)]))[-2:]
    return found


def directions() -> dict[str, Any]:
    anchored = [
        Anchors(images=MAKER.decode(w) + 0.1, latents=w, gradients=g)
        for g in (True, False)
        for w in (draw(60, LATENT, seed=8),)
    ]
    hold = [lambda x: x.mean((1, 2, 3)), lambda x: x[:, 0, 0, :2].sum(1)]
    config = DirectionConfig(samples=150, bootstrap=4, draws=70, batch=64)
    found: dict[str, Any] = {}
    for name, more in {
        "plain": {},
        "hold": {"hold": hold},
        "real": {"anchors": anchored[0]},
        "black": {"anchors": anchored[1], "hold": hold[:1]},
        "published": {"config": replace(config, published=True)},
        "few": {"anchors": anchored[0], "config": replace(config, anchors=30)},
    }.items():
        made = fit_direction(MAKER, score, target="class:1", **{"config": config, **more})  # type: ignore[arg-type]
        found[name] = [
            brief(made.alpha),
            made.intercept,
            brief(made.step),
            made.deviation,
            brief(made.held),
            {k: v for k, v in made.fit.items() if k != "config"},
            made.surrogate(draw(2, LATENT)),
        ]
    first = fit_direction(MAKER, score, target="class:1", config=config)  # type: ignore[arg-type]
    others: list[Direction] = [
        replace(first, alpha=draw(LATENT, seed=n), step=draw(LATENT, seed=n + 5), held=draw(n, LATENT))
        for n in (0, 1)
    ]
    found["holding"] = [
        [brief(h.step), h.deviation, brief(h.held)]
        for h in (first.holding(others[:1], STATISTICS), first.holding(others, STATISTICS))
    ]
    probes = draw(LATENT, 3, seed=2)
    found["least"] = [
        brief(v) if isinstance(v, Tensor) else v for v in least_step(probes, STATISTICS.covariance)
    ]
    found["effects"] = [probes.t() @ least_step(probes, STATISTICS.covariance)[0]]
    found["refused"] = tried(
        lambda: least_step(torch.stack([probes[:, 0]] * 2, 1), STATISTICS.covariance),
        lambda: fit_direction(MAKER, lambda x: x.sum((1, 2, 3)) * 0, target="t", config=config),  # type: ignore[arg-type]
        lambda: fit_direction(
            MAKER, lambda x: x.square().sum((1, 2, 3)) + 1, target="t", config=replace(config, published=True)
        ),
    )  # type: ignore[arg-type]
    found["quality"] = direction._quality(
        torch.linspace(-1, 2, 20), torch.linspace(-1, 2, 20) ** 2 - 0.5, config
    )
    found["one side"] = direction._quality(torch.linspace(-1, 2, 20), torch.linspace(1, 2, 20), config)["auc"]
    return found


def values() -> dict[str, Any]:
    return {part.__name__: part() for part in (searches, integrals, directions)}
