"""Each metric of strips against a closed form: a linear model and a linear generator, everything known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.special import expit
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from contrafact.core import Grid, InputError, Question, UnsupportedError
from contrafact.generators import frechet_distance, kernel_distance
from contrafact.metrics import (
    COUT,
    AdversarialNull,
    CalibrationGap,
    ChangeIoU,
    ChangeShare,
    Composition,
    Drift,
    Factor,
    FactorCorrelation,
    Identity,
    LatentLength,
    OffFactor,
    OffTarget,
    OracleAgreement,
    OracleChange,
    PerceptualDistance,
    Proximity,
    ProximitySSIM,
    RandomDirection,
    ReconstructionError,
    ReconstructionPSNR,
    ReconstructionSSIM,
    Reversibility,
    ShortcutShare,
    SignChanges,
    Sparsity,
    StepMonotonicity,
    Validity,
    adversarial_null,
    alignment,
    calibration_slope,
    diversity,
    evaluate_strips,
    realism,
    verdict,
)
from contrafact.models import BlackBox, Preprocessing, TorchPredictor
from linear_panel import Linear
from linear_walk import Shifted, toy


def test_validity_is_measured_again_and_not_believed() -> None:
    made = toy()
    assert Validity()(made.walked()) == 1
    short = made.strip([0.0, 1.0, 1.5], goal=2.0, scores=np.array([-2.0, 0.0, 9.0]))  # the strip lies
    assert Validity()(made.walked(short)) == 0
    assert Validity(at=0.0)(made.walked(short)) == 0  # -0.5
    assert Validity(at=-1.0)(made.walked(short)) == 1
    down = made.strip([0.0, -1.0], goal=-3.0)
    assert Validity()(made.walked(down)) == 1
    assert Validity()(made.walked(made.strip([0.0, -0.5], goal=-3.0))) == 0
    # A goal on the image's own side of the threshold: -2 must rise to -0.5, or for another image 2 fall to 0.5.
    assert [Validity()(made.walked(made.strip([0.0, s], goal=-0.5))) for s in (1.0, 1.6)] == [0, 1]
    high = made.walked(made.strip([0.0, 2.4], goal=0.5), image=made.frames([4.0])[0])
    assert Validity()(high) == 1  # 0.4
    assert Validity()(made.walked(made.strip([0.0, 3.0], goal=0.5), image=made.frames([4.0])[0])) == 0  # 1
    assert Validity()(made.walked(made.strip([0.0], goal=-3.0, outcome="already"))) == 1
    with pytest.raises(InputError, match="a counterfactual with a goal"):
        Validity()(made.walked(made.strip([0.0, 1.0], goal=None, outcome="steps")))


def test_distances_are_those_of_the_step() -> None:
    made = toy()
    walked = made.walked()
    size = 4 * made.per_unit  # of the block; the rest changes a hundredth as much
    block = float(made.mask.mean())
    assert Proximity()(walked) == pytest.approx(size * (block + 0.01 * (1 - block)) / 10, rel=1e-4)
    assert LatentLength()(walked) == 4
    # CounterfactualContext downwards, the frames stand in the order of their steps and the image is the last.
    down = made.walked(made.strip([-4.0, -2.0, 0.0], goal=-6.0))
    assert Proximity()(down) == pytest.approx(Proximity()(walked), rel=1e-4)
    assert LatentLength()(down) == 4 and Validity()(down) == 1
    assert Sparsity(share=0.05)(walked) == (block if size / 10 > 0.05 else 0)
    assert Sparsity(share=size / 10 * 1.01)(walked) == 0
    assert Sparsity(share=0.0)(walked) == 1
    assert diversity([walked, walked]) == 0
    other = made.walked(made.strip([0.0, 2.0]))
    assert diversity([walked, other, other]) == pytest.approx(Proximity()(other) * 2 / 3, rel=1e-4)
    with pytest.raises(InputError, match="at least 2 counterfactuals"):
        diversity([walked])


def test_similarity_is_scikit_images_and_outside_the_change_all_is_kept() -> None:
    made = toy(channels=2)
    walked = made.walked()
    whole = structural_similarity(
        walked.start.astype(float),
        walked.strip.reconstruction.astype(float),
        channel_axis=0,
        data_range=10.0,
        full=True,
    )[1]
    assert ReconstructionSSIM()(walked) == pytest.approx(float(whole.mean()), rel=1e-6)
    made.direction[:, ~made.mask] = 0
    block = made.walked()
    assert Identity(margin=6)(block) == pytest.approx(1, abs=1e-6)  # beyond the reach of a window of 7
    assert Identity(margin=0)(block) == pytest.approx(
        float(block.similarity(block.goal)[~made.mask].mean()), abs=1e-9
    )
    assert Identity(margin=0)(block) < ProximitySSIM(share=9.0)(made.walked(made.strip([0.0, 0.001])))
    with pytest.raises(InputError, match="leaves a voxel"):
        Identity()(made.walked(mask=np.ones_like(made.mask)))
    with pytest.raises(InputError, match="changes by at most"):
        ProximitySSIM(share=0.0)(walked)


def test_perceptual_distance_of_features_at_a_right_angle() -> None:
    made = toy(channels=2)
    image = np.stack([np.ones((12, 12)), np.zeros((12, 12))]).astype(np.float32)
    turned = image[::-1].copy()
    turned[:, :6] = image[:, :6]  # half of the voxels see the other feature
    strip = made.strip([0.0, 1.0], frames=np.stack([image, turned]))
    walked = made.walked(strip, image=image, layers=lambda x: [x, 7 * x])
    assert PerceptualDistance()(walked) == pytest.approx(1.0)  # |e1 - e2|^2 = 2, on half of them
    assert PerceptualDistance()(made.walked(made.strip([0.0, 1e-6]), layers=lambda x: [x])) < 1e-9


def test_cout_of_one_changed_voxel_has_a_closed_form() -> None:
    made = toy()
    made.direction[:] = 0
    made.direction[0, 3, 3] = 1.0
    walked = made.walked()
    p = np.array([expit(-2.0), *[expit(2.0)] * 50])  # the first paste does it all
    expected = (p[1:] + p[:-1] - 1).mean()
    assert COUT()(walked) == pytest.approx(expected, abs=1e-5)
    down = made.walked(made.strip([0.0, -4.0]))
    q = np.array([expit(-2.0), *[expit(-6.0)] * 50])
    assert COUT()(down) == pytest.approx((1 - q[1:] - q[:-1]).mean() + 0, abs=1e-5)
    with pytest.raises(InputError, match="probabilities"):
        plain = made.predictor.target("value:1")
        COUT()(made.walked(question=Question(**{**_fields(made.question()), "target": plain})))


def _fields(question: Question) -> dict[str, Any]:
    return {name: getattr(question, name) for name in ("predictor", "images", "target", "grid")}


def test_steps_and_scores() -> None:
    made = toy()
    assert StepMonotonicity()(made.walked()) == pytest.approx(1)
    assert SignChanges()(made.walked()) == 1
    assert SignChanges(at=5.0)(made.walked()) == 0
    assert CalibrationGap()(made.walked()) == pytest.approx(0, abs=1e-4)
    # Frames of other scores than the steps that were asked: half as much, and back and forth.
    half = made.strip([0.0, 2.0, 4.0], frames=made.frames([0.0, 1.0, 2.0]))
    assert calibration_slope(made.walked(half)) == pytest.approx(0.5, abs=1e-4)
    assert CalibrationGap()(made.walked(half)) == pytest.approx(0.5, abs=1e-4)
    back = made.strip([0.0, 1.0, 2.0, 3.0], frames=made.frames([0.0, 3.0, 1.0, 4.0]))
    assert StepMonotonicity()(made.walked(back)) == pytest.approx(0.8)
    assert SignChanges()(made.walked(back)) == 3


def test_there_and_back_and_nowhere() -> None:
    made = toy()
    assert Composition()(made.walked()) == pytest.approx(0, abs=1e-5)
    assert Reversibility()(made.walked()) == pytest.approx(0, abs=1e-5)
    blurred = made.walked(
        again=lambda image, _score: made.strip([0.0, 1.0], frames=np.stack([image, image + 1]))
    )
    stays = made.walked(again=lambda image, _score: made.strip([0.0, 1.0], frames=np.stack([image, image])))
    assert Reversibility()(stays) == pytest.approx(Proximity()(stays))
    assert Composition()(stays) == 0
    assert Composition()(blurred) == pytest.approx(0.1, rel=1e-4)  # one of ten grey levels


def test_other_classifiers_follow_by_their_own_slope() -> None:
    made = toy()
    walked = made.walked()
    assert OffTarget()(walked) == pytest.approx(0.5, rel=1e-4)
    assert alignment(walked, "half") == pytest.approx(-0.5, rel=1e-4)
    blind = (made.predictor, Shifted(made.predictor.target("class:1"), 0.0, 0.0))
    assert OffTarget()(made.walked(others={"a": walked.others["half"], "b": blind})) == pytest.approx(
        0.25, rel=1e-4
    )
    assert OracleChange()(walked) == pytest.approx(0.5, rel=1e-4)
    assert OracleAgreement()(walked) == 1
    assert verdict(walked) == "semantic"
    deaf = made.walked(oracle=blind)
    assert OracleAgreement()(deaf) == 0
    assert verdict(deaf) == "adversarial"
    stays = made.walked(made.strip([0.0, 1.0]))
    assert verdict(stays) == "none"
    with pytest.raises(InputError, match="prediction flips"):
        OracleAgreement()(stays)


def test_a_random_direction_of_equal_length_does_next_to_nothing() -> None:
    made = toy()
    found = RandomDirection(samples=64)(made.walked())
    # |cos| of a random direction with the weights, over that of the strip's own.
    weights, own = made.weights.numpy().ravel(), made.direction.ravel()
    cosine = (weights @ own) / np.linalg.norm(weights) / np.linalg.norm(own)
    assert found == pytest.approx(np.sqrt(2 / np.pi / weights.size) / cosine, rel=0.3)
    itself = made.walked(control=lambda length, _rng: made.frames([0.0, length]))
    assert RandomDirection()(itself) == pytest.approx(1, rel=1e-4)


def test_a_control_is_as_long_as_the_strip_down_as_up() -> None:
    made = toy()
    asked: list[float] = []

    def control(length: float, _rng: np.random.Generator) -> Any:
        asked.append(length)
        return made.frames([0.0, -length])

    down = made.walked(made.strip([-4.0, -2.0, 0.0], goal=-6.0), control=control)
    assert RandomDirection(samples=2)(down) == pytest.approx(1, rel=1e-4)
    assert asked == [4.0, 4.0]


def test_reconstruction_that_is_one_grey_level_off() -> None:
    made = toy()
    walked = made.walked()
    assert ReconstructionError()(walked) == pytest.approx(0.1, rel=1e-5)
    expected = peak_signal_noise_ratio(walked.start, walked.strip.reconstruction, data_range=10)
    assert ReconstructionPSNR()(walked) == pytest.approx(expected, rel=1e-5)
    assert Drift()(walked) == pytest.approx(2 * float(made.weights.sum()), rel=1e-4)
    exact = made.walked(made.strip([0.0, 1.0], reconstruction=made.image))
    assert Drift()(exact) == pytest.approx(0, abs=1e-4)
    with pytest.raises(InputError, match="exact"):
        ReconstructionPSNR()(exact)


def test_planted_truth_is_read_from_the_frames() -> None:
    made = toy()
    walked = made.walked()
    assert FactorCorrelation()(walked) == pytest.approx(1, abs=1e-6)
    rest = 0.01 * 4 * made.per_unit  # what the ruler of "rest" reads, in spans of 1
    assert OffFactor()(walked) == pytest.approx(rest / 1.0, rel=1e-3)  # worth moves 4 of 4
    assert OffFactor()(made.walked(made.strip([0.0, 2.0]))) == pytest.approx(rest, rel=1e-3)  # halves of both
    assert ChangeIoU()(walked) == 1
    block = float(made.mask.sum())
    others = 0.01 * float((~made.mask).sum())
    assert ChangeShare()(walked) == pytest.approx(block / (block + others), rel=1e-3)
    assert ChangeShare()(walked) + ShortcutShare()(walked) == pytest.approx(1, rel=1e-5)
    assert ChangeIoU()(made.walked(mask=~made.mask)) < 0.8
    dead = made.walked(factors={"worth": Factor(read=lambda _: 1.0, span=1.0)})
    assert FactorCorrelation()(dead) == 0
    with pytest.raises(InputError, match="a factor beside the cause"):
        OffFactor()(dead)


def test_passes_are_shared_and_a_failure_is_a_row() -> None:
    made = toy()
    metrics = [Validity(), Validity(), StepMonotonicity(), COUT(), OffTarget(), Identity()]
    scores = list(evaluate_strips([made.walked(mask=None)], metrics, ["one"]))
    assert [s.passes for s in scores] == [6, 0, 0, 51, 5, 0]
    assert np.isnan(scores[-1].value) and "identity needs a mask" in scores[-1].reason
    assert all(np.isfinite(s.value) for s in scores[:-1])


def test_bad_walks_are_refused() -> None:
    made = toy()
    with pytest.raises(InputError, match="about one image"):
        made.walked(question=Question(**{**_fields(made.question()), "images": made.frames([0, 1])}))
    with pytest.raises(InputError, match="like the frames"):
        made.walked(image=made.image[:, :5])
    with pytest.raises(InputError, match="mask must be bool"):
        made.walked(mask=np.zeros((12, 12), dtype=bool))
    with pytest.raises(InputError, match="cause must be one of worth, rest; got 'joint'"):
        made.walked(cause="joint")
    with pytest.raises(InputError, match="low < high"):
        Proximity()(made.walked(window=(3.0, 3.0)))


def test_realism_of_the_same_is_its_floor_and_of_others_is_their_distance() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(400, 1, 2, 2)).astype(np.float32)
    same = rng.normal(size=(150, 1, 2, 2)).astype(np.float32)
    distances = {"KID": kernel_distance, "FID": frechet_distance}

    def features(images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)

    near = realism(same, real, features=features, distances=distances)
    away = realism(same + 2, real, features=features, distances=distances)
    assert near["FID"].count == 150
    assert near["FID"].value == pytest.approx(near["FID"].floor, abs=0.15)
    assert near["FID"].floor > 0.005  # of two halves, not of one with itself
    assert abs(near["KID"].value) < 0.15 and abs(near["KID"].floor) < 0.15
    assert away["FID"].value == pytest.approx(16 + near["FID"].value, rel=0.1)  # four axes, 2 apart
    assert away["KID"].value > 10 * abs(near["KID"].value)


def test_value_and_floor_of_realism_are_means_over_the_halves() -> None:
    found: list[float] = []

    def distance(_a: torch.Tensor, _b: torch.Tensor) -> float:
        found.append(float(len(found)))
        return found[-1]

    rng = np.random.default_rng(0)
    frames, real = rng.normal(size=(4, 1, 2, 2)), rng.normal(size=(8, 1, 2, 2))
    asked: Any = {"features": lambda x: x.flatten(1), "distances": {"d": distance}, "rounds": 10}
    said = realism(frames, real, **asked)["d"]
    values, floors = found[::2], found[1::2]
    assert (said.value, said.floor) == (np.mean(values), np.mean(floors))
    assert (said.low, said.high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))


def test_no_counterfactual_is_compared_with_its_own_patient() -> None:
    real = np.zeros((8, 1, 2, 2), dtype=np.float32)
    real[:4] = 9.0  # the images of the patients who gave the sources
    frames = np.zeros((4, 1, 2, 2), dtype=np.float32)
    seen: list[float] = []

    def distance(a: torch.Tensor, b: torch.Tensor) -> float:
        seen.append(float(a.max()))
        return 0.0

    patients = (["a", "b", "c", "d"], ["a", "b", "c", "d", "e", "f", "g", "h"])
    found = realism(frames, real, features=lambda x: x.flatten(1), distances={"d": distance}, patients=patients)
    assert found["d"].count == 2
    assert max(seen) == 0
    with pytest.raises(InputError, match="at least 2 frames and 4 real images"):
        realism(frames, real[:4], features=lambda x: x, distances={}, patients=(patients[0], patients[0]))
    with pytest.raises(InputError, match="a patient for each"):
        realism(frames, real, features=lambda x: x, distances={}, patients=(["a"], ["b"]))


def test_the_null_of_a_strip_is_a_blurred_adversarial_change_of_the_same_score() -> None:
    made = toy(side=16)
    walked = made.walked(window=(-100.0, 100.0))  # nothing is cut
    null = adversarial_null(walked, blur=1.5)
    ends = walked.score(np.stack([null, walked.goal]))
    assert ends[0] == pytest.approx(ends[1], abs=1e-3)
    # The gradient of a linear model is the same everywhere, so the change is the blurred weights.
    slopes = gaussian_filter(made.weights.numpy()[0].astype(float), 1.5, mode="nearest", truncate=2.7)
    change = (null - walked.start)[0]
    assert np.corrcoef(change.ravel(), slopes.ravel())[0, 1] > 0.999
    assert change.min() >= 0  # the strip goes up
    down = made.walked(made.strip([0.0, -1.0, -2.0]))
    assert (adversarial_null(down, blur=1.5) - down.start).max() <= 0


def test_a_second_model_that_is_the_first_is_moved_by_the_null_as_by_the_strip() -> None:
    made = toy(side=16)
    same = (made.predictor, made.question().target)
    assert AdversarialNull()(made.walked(oracle=same)) == pytest.approx(0, abs=2e-3)
    corner = torch.zeros_like(made.weights)
    corner[:, -1, -1] = 1.0  # the strip changes it by a hundredth, the null not at all
    plain = Preprocessing(window=(0, 1))  # the values as they are
    other = TorchPredictor(Linear(corner), classes=["a", "b"], preprocessing=plain)
    found = made.walked(oracle=(other, other.target("class:1")))
    expected = 2 * float((found.goal - found.start)[0, -1, -1])
    assert AdversarialNull()(found) == pytest.approx(expected, rel=1e-2) and expected > 0
    falls = made.walked(made.strip([0.0, -1.0, -2.0]), oracle=(other, other.target("class:1")))
    assert AdversarialNull()(falls) == pytest.approx(expected / 2, rel=1e-2)  # towards the goal, down as up


def test_a_null_that_cannot_be_had_says_so() -> None:
    made = toy()
    with pytest.raises(InputError, match="no blurred change reaches the score of 2 in 1 rounds"):
        AdversarialNull(rounds=1)(made.walked())
    with pytest.raises(InputError, match="changes the score"):
        AdversarialNull()(made.walked(made.strip([0.0], outcome="already")))
    black = BlackBox(lambda x: np.stack([-x.sum((1, 2, 3)), x.sum((1, 2, 3))], axis=1), classes=["a", "b"])
    question = Question(
        predictor=black,
        images=made.image[None],
        target=black.target("value:1"),
        grid=Grid(made.image.shape[1:]),
    )
    with pytest.raises(UnsupportedError, match="needs gradients"):
        AdversarialNull()(made.walked(question=question))
    with pytest.raises(InputError, match="expected blur"):
        AdversarialNull(rate=0.0)
