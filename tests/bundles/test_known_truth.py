"""The shipped phantom bundle against what was planted.

The experiment behind the method: walking along a model's direction changes what the model looks
at, and nothing else. An honest model's walk changes the joint space and leaves the side marker
alone; a model that learned to cheat on the marker gives itself away.
"""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

import contrafact as cf
from contrafact.bundles import list_bundles
from contrafact.core import Counterfactual, Image, InputError
from contrafact.phantoms import (
    KneeFactors,
    draw_factors,
    knee_phantom,
    lesion_phantom,
    measure_joint_space,
    measure_marker,
    vessel_phantom,
)

STEPS = (-3.0, -1.5, 1.5, 3.0)


@pytest.fixture(scope="module")
def patients() -> list[Image]:
    rng = np.random.default_rng(2026)
    return [knee_phantom(draw_factors(rng), rng).image for _ in range(24)]


@pytest.fixture(scope="module")
def walked(patients: list[Image]) -> dict[str, list[Counterfactual]]:
    bundle = cf.load_bundle("phantom")
    return {
        name: cf.explain(
            "latent-walk", bundle.predictors[name], patients, target="class:1", bundle=bundle, steps=STEPS
        )
        for name in ("honest", "cheat")
    }


def changes(strips: list[Counterfactual]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Asked logits, change of the joint space in px, change of the marker in its own units."""
    asked = np.concatenate([s.requested for s in strips])
    joint = [measure_joint_space(f[0]) - measure_joint_space(s.image[0]) for s in strips for f in s.frames]
    marker = [measure_marker(f[0]) - measure_marker(s.image[0]) for s in strips for f in s.frames]
    return asked, np.array(joint), np.array(marker)


def test_the_bundle_is_shipped() -> None:
    assert "phantom" in list_bundles()


@pytest.mark.slow
def test_an_honest_model_walks_along_the_joint_space(walked: dict[str, list[Counterfactual]]) -> None:
    asked, joint, _ = changes(walked["honest"])
    assert np.corrcoef(asked, joint)[0, 1] < -0.9


@pytest.mark.slow
def test_and_leaves_the_marker_alone(walked: dict[str, list[Counterfactual]]) -> None:
    asked, joint, marker = changes(walked["honest"])
    # Own units: the range that was planted is 4 px of joint space and 1 of marker brightness.
    joint_share = abs(np.polyfit(asked, joint, 1)[0]) / 4.0
    marker_share = abs(np.polyfit(asked, marker, 1)[0]) / 1.0
    assert marker_share < joint_share / 10


@pytest.mark.slow
def test_a_model_that_cheats_on_the_marker_gives_itself_away(walked: dict[str, list[Counterfactual]]) -> None:
    asked, joint, marker = changes(walked["cheat"])
    # A marker ends at none and at full brightness, so the outer steps of some patients saturate.
    assert np.corrcoef(asked, marker)[0, 1] > 0.85
    assert abs(np.polyfit(asked, marker, 1)[0]) > 3 * abs(np.polyfit(asked, joint, 1)[0]) / 4.0


@pytest.mark.parametrize("model", ["honest", "cheat"])
@pytest.mark.slow
def test_what_is_asked_is_what_is_measured(walked: dict[str, list[Counterfactual]], model: str) -> None:
    asked = np.concatenate([s.requested for s in walked[model]])
    got = np.concatenate([s.scores - s.scores[s.origin] for s in walked[model]])
    assert np.corrcoef(asked, got)[0, 1] > 0.85
    assert 0.6 < np.polyfit(asked, got, 1)[0] < 1.4


@pytest.mark.slow
def test_most_phantoms_change_their_answer_within_the_budget(patients: list[Image]) -> None:
    bundle = cf.load_bundle("phantom")
    strips = cf.explain("latent-walk", bundle.predictor, patients, target="class:1", bundle=bundle)
    assert np.mean([s.outcome == "reached" for s in strips]) >= 0.9


def test_one_batch_equals_one_by_one(patients: list[Image]) -> None:
    bundle = cf.load_bundle("phantom")
    ask = {"target": "class:1", "bundle": bundle, "steps": (1.0,)}
    together = cf.explain("latent-walk", bundle.predictor, patients[:3], **ask)
    for image, strip in zip(patients[:3], together, strict=True):
        alone = cf.explain("latent-walk", bundle.predictor, image, **ask)
        # Rounding differs with the batch and the processor, and sixty steps of descent amplify it. Another
        # image's latent, score or direction would change a frame by tens of grey levels.
        difference = np.abs(alone.frames - strip.frames)
        assert difference.mean() < 0.5 and difference.max() < 15.0


@pytest.mark.slow
def test_noise_that_nobody_sees_changes_no_frame(patients: list[Image]) -> None:
    """The search divides and compares; where it were chaotic, 1e-4 grey levels would end in another frame."""
    bundle, rng = cf.load_bundle("phantom"), np.random.default_rng(0)
    noise = [1e-4 * rng.standard_normal(p.values.shape).astype(np.float32) for p in patients]
    noisy = [replace(p, values=p.values + n) for p, n in zip(patients, noise, strict=True)]
    for steps in ((1.0,), (-2.0,)):
        ask = {"target": "class:1", "bundle": bundle, "steps": steps}
        pairs = zip(
            cf.explain("latent-walk", bundle.predictor, patients, **ask),
            cf.explain("latent-walk", bundle.predictor, noisy, **ask),
            strict=True,
        )
        worst = [float(np.abs(a.frames - b.frames).max()) for a, b in pairs]
        assert max(worst) < 10.0 and np.median(worst) < 0.5, worst


def test_the_ruler_reads_what_was_planted() -> None:
    rng = np.random.default_rng(0)
    factors = [draw_factors(rng) for _ in range(100)]
    images = [knee_phantom(f, rng).image.values[0] for f in factors]
    joint = [measure_joint_space(v) for v in images]
    assert np.corrcoef(joint, [f.joint_space for f in factors])[0, 1] > 0.99
    marker = [measure_marker(v) for v in images]
    np.testing.assert_allclose(marker, [f.marker for f in factors], atol=0.05)


def test_each_factor_changes_the_image_inside_its_own_mask() -> None:
    base = KneeFactors(osteophyte=1.0)
    for name, value in (("joint_space", 4.0), ("osteophyte", 2.0), ("marker", 1.0)):
        other = KneeFactors(**{**asdict(base), name: value})
        a = knee_phantom(base, np.random.default_rng(0))
        b = knee_phantom(other, np.random.default_rng(0))
        change = np.abs(a.image.values[0] - b.image.values[0])
        mask = a.masks[name] | b.masks[name]
        if name == "joint_space":  # the bones move apart as a whole
            mask = mask | a.masks["density"] | b.masks["density"] | b.masks["osteophyte"]
        assert change.max() > 20
        assert change[mask].sum() > 0.8 * change.sum(), name


@pytest.mark.parametrize("side", [16, 32, 64, 100])
def test_phantoms_of_any_side_carry_their_factors(side: int) -> None:
    made = knee_phantom(KneeFactors(joint_space=3.0), np.random.default_rng(0), side=side)
    assert made.image.values.shape == (1, side, side)
    assert made.image.about["factors"]["joint_space"] == 3.0
    assert measure_joint_space(made.image.values[0]) == pytest.approx(3.9, abs=1.0)


def test_the_same_seed_draws_the_same_phantom_and_lesions_have_masks() -> None:
    a, b = (lesion_phantom(np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(a.image.values, b.image.values)
    assert a.masks["lesion"].sum() == pytest.approx(np.pi * 25, rel=0.15)
    inside = a.image.values[0][a.masks["lesion"]].mean()
    assert inside > a.image.values[0][~a.masks["lesion"]].mean() + 30
    with pytest.raises(InputError, match="radius"):
        lesion_phantom(np.random.default_rng(0), radius=40)
    volume = lesion_phantom(np.random.default_rng(4), side=32, axes=3)
    assert volume.image.values.shape == (1, 32, 32, 32)
    assert volume.masks["lesion"].sum() == pytest.approx(4 / 3 * np.pi * 125, rel=0.15)
    middle = [volume.factors[name] for name in ("slice", "row", "column")]
    np.testing.assert_allclose(np.argwhere(volume.masks["lesion"]).mean(axis=0), middle, atol=0.3)
    with pytest.raises(InputError, match="axes"):
        lesion_phantom(np.random.default_rng(0), axes=4)
    vessels = vessel_phantom(np.random.default_rng(1), side=32)
    assert vessels.image.grid.spacing_mm == (0.5, 0.5, 0.5)
    assert 0.005 < vessels.masks["vessel"].mean() < 0.2
