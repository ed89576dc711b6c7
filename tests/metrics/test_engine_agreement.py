"""Whether two engines agree: the joint of phantoms, narrowed by both, or by one while the other paints."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

import contrafact as cf
from contrafact.api.case import Plan, solve
from contrafact.api.second_engine import OTHERS, other_engine_of
from contrafact.core import Counterfactual, Grid, Image, InputError, Record
from contrafact.counterfactual import Translation
from contrafact.generators import Translator, TranslatorConfig
from contrafact.metrics import trust_card_of_strip
from contrafact.metrics.trust.card import Check
from contrafact.metrics.trust.engine_agreement import (
    EngineAgreement,
    OtherEngine,
    agreement,
    change_of,
    follows,
)
from contrafact.phantoms import KneeFactors, draw_factors, knee_phantom


def patients(count: int, seed: int = 3) -> list[KneeFactors]:
    """Knees at random places, all with a wide joint."""
    rng = np.random.default_rng(seed)
    wide = [dataclasses.replace(draw_factors(rng), joint_space=4.5, marker=0.2) for _ in range(count)]
    return [dataclasses.replace(one, across=3 * one.across / 1.5, down=3 * one.down / 1.5) for one in wide]


def drawn(factors: KneeFactors, side: int = 32) -> np.ndarray:
    return knee_phantom(factors, np.random.default_rng(0), side=side).image.values


def strip_of(before: np.ndarray, after: np.ndarray, engine: str, **changes: object) -> Counterfactual:
    record = Record(method=engine, parameters={}, target="class:1", model="m", image="i")
    values: dict[str, object] = {
        "frames": np.stack([before, after]),
        "requested": np.array([0.0, 4.0]),
        "scores": np.array([-2.0, 2.0]),
        "latent_distance": np.zeros(2),
        "origin": 0,
        "reconstruction_error": 0.0,
        "above_tolerance": False,
        "outcome": "reached",
        "goal": 2.0,
        "reconstruction": before,
        "grid": Grid(before.shape[1:]),
        "record": record,
    }
    return Counterfactual(**{**values, **changes})  # type: ignore[arg-type]


def narrowed(
    factors: KneeFactors, engine: str, *, to: float = 1.5, side: int = 32, **changes: object
) -> Counterfactual:
    """What an engine that narrows the joint makes of a knee."""
    after = dataclasses.replace(factors, joint_space=to)
    return strip_of(drawn(factors, side), drawn(after, side), engine, **changes)


def marked(factors: KneeFactors, engine: str) -> Counterfactual:
    """What an engine makes of a knee that writes a marker into the corner."""
    return strip_of(drawn(factors), drawn(dataclasses.replace(factors, marker=1.0)), engine)


def named(strip: Counterfactual, other: OtherEngine) -> Check:
    [check] = [one for one in trust_card_of_strip(strip, other_engine=other) if one.name == "another engine"]
    return check


OTHER_KNEES = np.stack([change_of(narrowed(one, "translate")) for one in patients(20)[1:]])
KNEE = patients(1)[0]


def test_two_engines_that_narrow_the_same_joint_agree_also_in_another_size_and_strength() -> None:
    strip = narrowed(KNEE, "translate")
    for side, to in ((32, 2.5), (64, 1.5), (64, 3.0)):
        other = OtherEngine(
            strip=narrowed(KNEE, "latent-walk", to=to, side=side), others=OTHER_KNEES, by="translate"
        )
        found, check = agreement(strip, other), named(strip, other)
        assert found.value > 0.8 and found.chance == 0.05 and len(found.null) == 19
        assert check.passed and check.value == found.value and check.threshold == max(found.null)
        assert "Another engine (latent-walk) changes the same places of this image" in check.sentence


def test_an_engine_that_paints_elsewhere_does_not_agree() -> None:
    """A marker in the corner, and the joint of another patient: the right finding in the wrong place."""
    strip = narrowed(KNEE, "translate")
    for wrong in (marked(KNEE, "latent-walk"), narrowed(patients(40)[30], "latent-walk")):
        other = OtherEngine(strip=wrong, others=OTHER_KNEES, by="translate")
        check = named(strip, other)
        assert check.passed is False and "agrees on the places no better than chance" in check.sentence


def test_it_is_the_patient_and_not_the_anatomy_that_must_agree() -> None:
    """All knees in one place: the changes of others agree as well, and nothing is shown by agreement."""
    same = [dataclasses.replace(one, across=0.0, down=0.0, tilt=0.0) for one in patients(20)]
    strip, *rest = (narrowed(one, "translate") for one in same)
    other = OtherEngine(
        strip=narrowed(same[0], "latent-walk", to=3.0),
        others=np.stack([change_of(one) for one in rest]),
        by="translate",
    )
    found = agreement(strip, other)
    assert found.value > 0.9 and min(found.null) > 0.8
    equal = dataclasses.replace(found, null=(*found.null[1:], found.value))
    assert equal.chance > 0.05 and not equal.value > equal.limit(0.05)


def test_changes_of_the_other_engine_are_compared_with_the_checked_ones() -> None:
    """The null holds changes of one engine; the other engine's change of this image stands against them."""
    strip, walk = narrowed(KNEE, "latent-walk"), marked(KNEE, "translate")
    against_walk = agreement(strip, OtherEngine(strip=walk, others=OTHER_KNEES, by="translate"))
    against_mark = agreement(strip, OtherEngine(strip=walk, others=OTHER_KNEES, by="latent-walk"))
    assert np.mean(against_walk.null) > np.mean(against_mark.null) + 0.2


def test_the_limit_is_an_order_statistic_and_too_few_others_show_nothing() -> None:
    null = tuple(np.linspace(0, 0.9, 39))
    assert EngineAgreement(value=1.0, null=null).limit(0.05) == sorted(null)[-2]  # 2 of 40
    assert EngineAgreement(value=1.0, null=null).chance == 1 / 40
    assert EngineAgreement(value=0.0, null=null).chance == 1.0
    assert EngineAgreement(value=1.0, null=null[:5]).limit(0.05) == np.inf
    with pytest.raises(InputError, match="at least 1 other image"):
        OtherEngine(strip=marked(KNEE, "x"), others=np.zeros((0, 4, 4)), by="x")


@pytest.mark.parametrize(
    ("own", "others", "words"),
    [
        ([-1.0, 1.0], [-1.0, 1.0], "follows both"),
        ([-1.0, 1.0], [-1.0, -0.9], "and not the other engine's"),
        ([-1.0, -0.9], [-1.0, 1.0], "and not this one"),
        ([-1.0, -0.9], [1.0, 2.0], "follows neither"),
    ],
)
def test_the_card_says_which_of_both_a_second_model_follows(
    own: list[float], others: list[float], words: str
) -> None:
    strip = narrowed(KNEE, "translate", second=np.array(own))
    other = narrowed(KNEE, "latent-walk", to=2.5, second=np.array(others))
    check = named(strip, OtherEngine(strip=other, others=OTHER_KNEES, by="translate"))
    assert check.passed and words in check.sentence
    assert follows(narrowed(KNEE, "translate"), 0.1) is None


@pytest.mark.parametrize("outcome", ["budget", "search", "no_change", "already"])
def test_an_engine_that_finds_nothing_is_no_contradiction(outcome: str) -> None:
    strip = narrowed(KNEE, "translate")
    other = OtherEngine(
        strip=narrowed(KNEE, "latent-walk", outcome=outcome), others=OTHER_KNEES, by="translate"
    )
    check = named(strip, other)
    assert check.passed is None and check.sentence.startswith("Not checked: the engine latent-walk found no")
    still = narrowed(KNEE, "translate", outcome="already")
    assert named(still, OtherEngine(strip=strip, others=OTHER_KNEES, by="translate")).passed is None


class Filler(Translator):
    """Brightens the dark gap between the bones: as much as the score asked is above the image's own."""

    def translate(self, encoded: object, to: Tensor) -> Tensor:
        own = encoded.now * (self.high[0] - self.low[0]) / 2 + (self.high[0] + self.low[0]) / 2  # type: ignore[attr-defined]
        step = (to - own).view(-1, 1, 1, 1) * 0.15
        images = encoded.images  # type: ignore[attr-defined]
        gap = torch.zeros_like(images)
        gap[..., 8:24, 6:26] = 1.0
        return (images + step * gap * (images < -0.55)).clamp(-1, 1)


@pytest.fixture(scope="module")
def bundle() -> cf.Bundle:
    """The phantoms' StyleGAN2, and a translator beside it: two engines that share no network."""
    phantom = cf.load_bundle("phantom")
    filler = Filler(TranslatorConfig(resolution=32, widths=(4, 8), fold=2))
    filler.low.fill_(-4.0)
    filler.high.fill_(4.0)
    entry = Translation(model=phantom.predictor.digest, target="class:1")
    return dataclasses.replace(phantom, translator=filler.eval(), translations=(entry,), engine="translate")


def test_the_other_engine_of_a_bundle_is_one_with_another_network(bundle: cf.Bundle) -> None:
    target = bundle.predictor.target("class:1")
    for method, other in (
        ("translate", "latent-walk"),
        ("latent-walk", "translate"),
        ("latent-shift", "translate"),
    ):
        found = bundle.second_engine(method, bundle.predictor, target)
        assert found is not None and found[0] == other and found[1] is bundle.predictor
    assert cf.load_bundle("phantom").second_engine("latent-walk", bundle.predictor, target) is None
    knee = cf.load_bundle("knee")
    found = knee.second_engine("translate", knee.predictor, knee.predictor.target("class:1"))
    assert found == ("latent-walk", knee.predictors["classifier_64"])
    grade = knee.predictors["grade"]
    assert knee.second_engine("translate", grade, grade.target("grade")) is None


@pytest.mark.parametrize("method", ["counterfactual", "latent-walk"])
def test_the_checks_of_a_counterfactual_ask_the_other_engine(bundle: cf.Bundle, method: str) -> None:
    factors = dataclasses.replace(KNEE, down=1.0, across=0.5)
    image = Image(drawn(factors), window=(0.0, 255.0))
    plan = Plan(predictor=bundle.predictor, methods=[method], target="class:1", bundle=bundle, trust=True)
    explainer = cf.LatentWalk() if method == "latent-walk" else cf.BestCounterfactual()
    plain = solve("one", image, explainer, plan)[1]["trust"]
    assert "another engine" not in [check["name"] for check in plain]
    result, extra = solve("one", image, explainer, dataclasses.replace(plan, other_engine=True))
    assert isinstance(result, Counterfactual) and result.outcome == "reached"
    [check] = [one for one in extra["trust"] if one["name"] == "another engine"]
    other = "translate" if method == "latent-walk" else "latent-walk"
    assert f"({other})" in check["sentence"] and check["passed"] is not None
    target = bundle.predictor.target("class:1")
    again = other_engine_of(result, image, bundle.predictor, target, bundle)
    assert again is not None and again.by == "translate" and 1 < len(again.others) <= OTHERS
    assert again.strip.record is not None and again.strip.record.engine == other
