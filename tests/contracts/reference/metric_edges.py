"""Metrics and reliability checks at their limits, on models of which every value is known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from contrafact.attribution import Gradient, Smooth
from contrafact.core import METRICS, Question, Record
from contrafact.metrics import (
    HeatmapContext,
    Thresholds,
    card_as_json,
    evaluate,
    evaluate_strips,
    realism,
    references,
    trust_card,
    trust_card_of_strip,
)
from contrafact.metrics.counterfactual_context import distance, end_of, needed, slope
from contrafact.metrics.evidence import evidence, in_words, places_of
from contrafact.metrics.heatmap_context import flaw_of
from contrafact.metrics.similarity import alike, spearman, ssim
from contrafact.metrics.trust import card, removal_test
from contrafact.metrics.trust.counterfactual_card import _second_model_sentence, image_error
from contrafact.metrics.trust.engine_agreement import (
    EngineAgreement,
    OtherEngine,
    agreement,
    change_of,
    follows,
)
from contrafact.models import BlackBox
from linear_panel import linear_panel
from linear_walk import toy
from reference.kept import asked, brief, tried

HEATMAP = [n for n in METRICS.names() if METRICS.get(n).of == "heatmap"]
STRIP = [n for n in METRICS.names() if METRICS.get(n).of == "strip"]
QUICK = {"samples": 6, "steps": 4, "features": 3, "draws": 1, "seeds": 2, "rounds": 60}


def plain(scores: Any) -> list[Any]:
    return [[s.value, s.reason[:80], s.note, s.passes, s.label] for s in scores]


def panel(**more: Any) -> HeatmapContext:
    """Truth, noise and the opposite of a linear model; a map with ties, one of zeros, one that is constant."""
    ties = np.round(np.random.default_rng(2).uniform(-0.4, 3.4, (10, 10)))
    rows = np.stack([ties, ties * 0, ties * 0 + 2])
    made = linear_panel(side=10, more=rows)
    made.maps[:3] *= more.pop("times", 1.0)
    return made


def heatmaps() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in HEATMAP:
        settings = {k: v for k, v in QUICK.items() if k in METRICS.fields_of(name)}
        one = panel()
        one.mask = one.mask | (np.arange(10) > 7)  # type: ignore[operator]
        found[name] = plain(evaluate(one, [METRICS.make(name, **settings)], list("abcdef")))
    one = panel()
    found["shared"] = [
        brief(one.mass()),
        brief(one.ranks()),
        brief(one.curves(steps=3, fill="mean")),
        brief(one.curves(steps=7, fill=0.5, insert=True)),
        brief(one.region_curves(steps=20, fill="min", features=3)),
        brief(one.region_shares(steps=20, features=3)),
        brief(one.region_shares(steps=4, features=3, by="mean")),
        [brief(v) for v in one.subsets(count=5, share=0.01, fill="mean", features=4)],
        [brief(v) for v in one.by_feature(fill="blur", features=20)],
        brief(one.cell_sums(4)),
        brief(one.noisy(2, 0.1)),
        one.passes,
        one.whole,
        one.score_empty("noise 3"),
        brief(one.empty("noise")),
    ]
    notes = []
    for fill in ("mean", "min", 5.0):
        one.note_inverted(fill)
        notes.append(one.note)
        one.note = ""
    found["inverted"] = notes
    found["flaws"] = [
        flaw_of(np.array(v))
        for v in ([[0.0, 0.0]], [[1.0, 1.0]], [[1.0, np.nan]], [[np.inf, 1.0]], [[1.0, 2.0]], [[0.0, 1e-30]])
    ]
    question = one.question
    two = dataclasses.replace(question, images=np.concatenate([question.images] * 2))
    found["refused"] = tried(
        lambda: HeatmapContext(two, one.maps),
        lambda: HeatmapContext(question, one.maps[:, :5]),
        lambda: HeatmapContext(question, one.maps[0]),
        lambda: HeatmapContext(question, one.maps, explainers=[Gradient()]),
        lambda: HeatmapContext(question, one.maps, mask=np.ones((3, 3), bool)),
        lambda: HeatmapContext(question, one.maps).truth("iou"),
        lambda: HeatmapContext(question, one.maps, mask=np.zeros((10, 10), bool)).truth("iou"),
        lambda: ssim(one.maps[0][:2], one.maps[1][:2]),
        lambda: alike(one.maps[0], one.maps[1], "mse"),
        lambda: HeatmapContext(question, one.maps).again(0),
    )
    region = np.arange(100).reshape(10, 10) % 7 < 3
    found["similar"] = [
        spearman(a, b, r) for a in one.maps[:5] for b in one.maps[1:4] for r in (None, region)
    ] + [ssim(one.maps[0][:side], one.maps[1][:side]) for side in (3, 4, 6, 8, 10)]
    found["alike"] = [alike(one.maps[0], -one.maps[0], kind) for kind in ("spearman", "ssim")]
    found["references"] = {
        name: brief(made(question, np.random.default_rng(1))) for name, made in references(one.mask).items()
    }
    return found


def cards() -> dict[str, Any]:
    found: dict[str, Any] = {}
    record = Record(
        method="m", parameters={}, target="t", model="x", image="i", seconds=200.0, forward_passes=16.0
    )
    for name, notes, limits, seconds in (
        ("at", {"completeness": 0.05}, None, 9900.0),
        ("gap", {"completeness_gap": -1.0}, None, 9900.0),
        ("sum", {"conservation": 1.2}, Thresholds(completeness=0.2), 9900.0),
        ("slow", {}, None, 590.0),
        ("short", {}, None, 100.0),
    ):
        for which in (0, 1, 2, 3):
            found[f"{name} {which}"] = card_as_json(
                trust_card(
                    panel(),
                    which,
                    record=dataclasses.replace(record, notes=notes),
                    thresholds=limits,
                    seconds=seconds,
                )
            )
    sampled = panel()
    sampled.explainers = (Smooth(samples=2, noise=0.1),) * 6
    found["sampled"] = [
        card_as_json(
            trust_card(sampled, 0, record=dataclasses.replace(record, forward_passes=passes), seconds=seconds)
        )
        for passes, seconds in ((16, 550.0), (17, 350.0))
    ]
    found["flawed"] = [card_as_json(trust_card(panel(), which)) for which in (4, 5)]
    found["numbers"] = [
        card.number_text(*one)
        for one in (
            (0.94, 0.94),
            (0.9399, 0.94),
            (0.5, 0.94),
            (0.93999999, 0.94),
            (1.0, 4.0, ".1f"),
            (4.004, 4.0, ".1f"),
            (4.0, 4.0, ".2f"),
        )
    ]
    found["rows"] = card_as_json(
        [card.Check("a", value, 1.0, True, "s") for value in (None, 0.123456, float("nan"), float("inf"))]
    )
    one = panel()
    found["removal"] = [removal_test.removal_test(one, which) for which in range(4)]
    found["top"] = [int(removal_test.top(one, one.maps[n]).sum()) for n in range(4)]
    inside = dataclasses.replace(one.question, region=np.arange(100).reshape(10, 10) < 35)
    found["top inside"] = removal_test.top(HeatmapContext(inside, one.maps), one.maps[1])
    found["far"] = [removal_test._far(np.random.default_rng(n), (8, 9)) for n in range(12)]
    return found


def strips() -> dict[str, Any]:
    made = toy()
    found: dict[str, Any] = {}
    walks = {
        "up": [0.0, 1.0, 2.0, 4.0],
        "down": [0.0, -1.0, -0.5, -3.0],
        "both": [-2.0, -1.0, 0.0, 3.0, 5.0],
        "still": [0.0, 0.0],
        "hardly": [0.0, 1e-4],
    }
    for label, steps in walks.items():
        for name in STRIP:
            settings = {k: v for k, v in QUICK.items() if k in METRICS.fields_of(name)}
            strip = made.strip(steps)
            found[f"{label} {name}"] = plain(
                evaluate_strips(
                    [dataclasses.replace(made.walked(), strip=strip)], [METRICS.make(name, **settings)]
                )
            )
    walked = made.walked()
    found["frames"] = [
        walked.end,
        brief(walked.changed()),
        brief(walked.similarity(walked.goal)),
        walked.whole,
        walked.measured,
        walked.span,
        dataclasses.replace(walked, window=(0, 50)).span,
        distance(walked, walked.goal),
        [end_of(made.strip(steps)) for steps in walks.values()],
        brief(walked.read(walked.cause)),
    ]
    image = walked.question.images
    found["refused"] = tried(
        lambda: dataclasses.replace(walked, image=image[0][:, 1:]),
        lambda: dataclasses.replace(walked, mask=np.zeros(made.mask.shape, bool)),
        lambda: dataclasses.replace(walked, mask=made.mask.astype(int)),
        lambda: dataclasses.replace(walked, mask=made.mask[1:]),
        lambda: dataclasses.replace(walked, cause="x"),
        lambda: dataclasses.replace(walked, window=(3, 3)).span,
        lambda: needed(None, "m", "a"),
        lambda: needed({}, "m", "a"),
        lambda: needed((), "m", "a"),
        lambda: slope(np.ones(3), np.arange(3.0), "m"),
        lambda: slope(np.arange(3.0), np.array([1.0, 0, 4]), "m"),
        lambda: dataclasses.replace(
            walked, question=dataclasses.replace(walked.question, images=np.concatenate([image, image]))
        ),
        lambda: walked.similarity(walked.goal[:, :2]),
    )
    rng = np.random.default_rng(0)
    frames, real = rng.normal(0.5, 1, (4, 1, 3, 3)), rng.normal(size=(9, 1, 3, 3))
    gap = {"gap": lambda a, b: float((a.mean(0) - b.mean(0)).abs().sum())}
    found["realism"] = [
        asked(
            lambda f=f, r=r, p=p: {
                k: dataclasses.asdict(v)
                for k, v in realism(
                    f, r, features=lambda x: x.flatten(1), distances=gap, patients=p, rounds=3
                ).items()
            }
        )  # type: ignore[misc]
        for f, r, p in (
            (frames, real, None),
            (frames, real[:4], None),
            (frames, real[:3], None),
            (frames[:1], real, None),
            (frames, real, (list("abcd"), list("aefghijkl"))),
            (frames, real, (list("abc"), list("aefghijkl"))),
        )
    ]
    return found


def counterfactual_cards() -> dict[str, Any]:
    made = toy()
    found: dict[str, Any] = {}
    record = Record(
        method="m",
        parameters={"tolerance": 0.3},
        target="class:1",
        model="x",
        image="i",
        details={"engine": "translate"},
    )
    target = made.walked().oracle[1]  # type: ignore[index]
    for label, steps in {
        "up": [0.0, 1.0, 4.0],
        "down": [0.0, -3.0],
        "still": [0.0, 5e-4],
        "some": [0.0, 1.5],
    }.items():
        for name, times in (("follows", 0.2), ("at", 0.1), ("hardly", 0.09), ("against", -1.0), ("more", 3.0)):
            second = dataclasses.replace(target, times=times)
            for how, strip in (
                ("plain", made.strip(steps)),
                ("record", made.strip(steps, record=record, reconstruction_error=0.31, above_tolerance=True)),
            ):
                found[f"{label} {name} {how}"] = card_as_json(
                    trust_card_of_strip(strip, second_model=made.predictor, target=second)
                )
    lengths = [
        made.strip([0.0, 1.0], latent_distance=np.array([0.0, d]), outcome=outcome)
        for d in (0.0, 4.0, 4.01)
        for outcome in ("reached", "already", "steps")
    ]
    found["lengths"] = [card_as_json(trust_card_of_strip(strip)) for strip in lengths]
    found["sentences"] = [
        _second_model_sentence(bool(n & 8), bool(n & 4), bool(n & 2), bool(n & 1)) for n in range(16)
    ]
    base = made.strip([0.0, 1.0, 4.0])
    found["errors"] = [
        image_error(dataclasses.replace(base, reconstruction=base.image * factor + shift))
        for factor, shift in ((1.0, 0.0), (1.1, 0.0), (0.2, 3.0))
    ]
    seconds = ([0.0, 1.0, 2.0], [-1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [0.0, 0.05, 0.4], [0.0, 0.0, 0.39])
    found["follows"] = [
        follows(dataclasses.replace(made.strip(steps), second=np.array(second)), 0.1)
        for steps in ([0.0, 1.0, 4.0], [0.0, 0.5, 1.0], [0.0, 0.0, 5e-4])
        for second in seconds
    ] + [follows(base, 0.1)]
    changes = np.random.default_rng(1).normal(size=(20, *base.frames.shape[2:]))
    for label, strip in {
        "same": base,
        "other": made.strip(
            [0.0, 4.0], frames=np.stack([base.image, base.image + changes[0].astype(np.float32)])
        ),
        "already": dataclasses.replace(base, outcome="already"),
        "budget": dataclasses.replace(base, outcome="budget"),
    }.items():
        other = OtherEngine(
            strip=dataclasses.replace(
                strip,
                record=dataclasses.replace(record, details={"engine": "walk"}),
                second=np.linspace(-1, 1, len(strip.frames)),
            ),
            others=changes,
            by="walk",
        )
        for count in (18, 19, 20):
            few = dataclasses.replace(other, others=changes[:count])
            found[f"engine {label} {count}"] = card_as_json(
                trust_card_of_strip(
                    dataclasses.replace(base, record=record, second=np.linspace(-1, 1, 3)), other_engine=few
                )[:1]
            )
        found[f"agreement {label}"] = asked(
            lambda other=other: [
                (a := agreement(dataclasses.replace(base, record=record), other)).value,
                brief(np.array(a.null)),
                a.chance,
            ]
        )  # type: ignore[misc]
    row = EngineAgreement(value=0.5, null=tuple(np.linspace(0, 0.6, 19)))
    found["limits"] = [row.limit(chance) for chance in (0.04, 0.05, 0.1, 0.5, 1.0)] + [
        row.chance,
        dataclasses.replace(row, value=0.6).chance,
        dataclasses.replace(row, value=0.61).chance,
    ]
    found["change"] = brief(change_of(base))
    found["refused"] = tried(
        lambda: OtherEngine(strip=base, others=changes[:0], by="x"),
        lambda: agreement(base, OtherEngine(strip=base, others=changes * 0 + 1, by="x")),
    )
    return found


def places() -> dict[str, Any]:
    labels = np.zeros((9, 8), dtype=int)
    labels[1:4, :4], labels[1:4, 5:], labels[6:, 2:6] = 1, 2, 3
    grid = panel().question.grid
    maps = [np.where(labels == n, 1.0, 0.1) * sign for n in (1, 2, 3) for sign in (1, -1)] + [
        labels * 0.0,
        (labels == 3) - 2.0 * (labels == 1),
    ]
    image = np.where(labels > 0, 0.8, 0.02)[None]
    named = [
        asked(lambda given=given: places_of(labels, given, grid.resized((9, 8)), image))
        for given in ({1: "left lung", 2: "right lung", 3: "heart"}, {1: "a"}, {7: "none"}, {})
    ]  # type: ignore[misc]
    first = named[0]
    shares = [asked(lambda one=one: evidence(one, first)) for one in maps] if isinstance(first, dict) else []  # type: ignore[misc]
    return {
        "named": [one if isinstance(one, str) else {k: brief(v) for k, v in one.items()} for one in named],
        "shares": [
            one if isinstance(one, str) else [dataclasses.asdict(place) for place in one] for one in shares
        ],
        "words": [
            asked(lambda one=one: in_words(one, "a finding")) for one in shares if not isinstance(one, str)
        ],  # type: ignore[misc]
    }


def blind() -> dict[str, Any]:
    """A function without gradients, and one that always answers the same."""
    one = panel()
    found = {}
    for label, answer in (
        ("same", lambda x: np.stack([x.mean((1, 2, 3)) * 0, x.mean((1, 2, 3)) * 0 + 1], 1)),
        ("falls", lambda x: np.stack([x.mean((1, 2, 3)), 1 - 2 * x.mean((1, 2, 3))], 1)),
    ):
        model = BlackBox(answer, classes="ab", digest="x")
        question = Question(
            predictor=model, images=one.question.images, target=model.target("value:1"), grid=one.question.grid
        )
        context = HeatmapContext(question, one.maps[:4], mask=one.mask)
        for name in HEATMAP:
            settings = {k: v for k, v in QUICK.items() if k in METRICS.fields_of(name)}
            found[f"{label} {name}"] = plain(evaluate(context, [METRICS.make(name, **settings)], list("abcd")))
    return found


def values() -> dict[str, Any]:
    torch.manual_seed(0)
    return {part.__name__: part() for part in (heatmaps, cards, strips, counterfactual_cards, places, blind)}
