"""Metrics against other libraries: captum, and Quantus 0.6.0 where it is right; where it is not, how
(docs/results/speed_metrics.md tells the reasons)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contrafact.core import Grid, Question
from contrafact.metrics import (
    Complexity,
    FaithfulnessCorrelation,
    FaithfulnessEstimate,
    HeatmapContext,
    Infidelity,
    PixelFlipping,
    PointingGame,
    RelevanceMass,
    RelevanceRank,
    SensitivityN,
    Sparseness,
)
from contrafact.metrics.faithfulness.road import impute, neighbours
from contrafact.models import TorchPredictor

PLAIN: dict[str, Any] = {"disable_warnings": True, "normalise": False, "abs": False}


@pytest.fixture
def quantus() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("quantus", reason="Quantus is not installed")


class Seen(nn.Module):
    """Keeps the images that a network was shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.images: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.images.append(x.detach().clone())
        return torch.as_tensor(self.network(x))


def asked(axes: int = 2, channels: int = 1, side: int = 12) -> tuple[HeatmapContext, Seen]:
    """A convolutional network, an image without a 0 (so that what is hidden shows), three maps."""
    rng = np.random.default_rng(4)
    size = (side,) * axes
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        body = nn.Sequential(
            conv(channels, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * side**axes, 2)
        )
    network = Seen(body).eval()
    predictor = TorchPredictor(network, classes=["a", "b"])
    images = rng.uniform(0.5, 2, (1, channels, *size)).astype(np.float32)
    question = Question(predictor=predictor, images=images, target=predictor.target("value:1"), grid=Grid(size))
    mask = np.zeros(size, dtype=bool)
    mask[(slice(2, 7),) * axes] = True
    maps = np.stack([rng.normal(size=size), rng.uniform(0, 1, size), rng.uniform(0, 1, size) * (1 + mask)])
    return HeatmapContext(question, maps, mask=mask), network


def hidden_in(network: Seen, panel: HeatmapContext) -> NDArray[np.bool_]:
    """(K, voxels): what was hidden in each image that the network was shown, the image itself left out."""
    shown = torch.cat(network.images)[:, 0].reshape(-1, int(np.prod(panel.size))).numpy()
    gone = shown == 0
    return gone[gone.any(axis=1)]


def by_quantus(metric: Any, panel: HeatmapContext, which: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = metric(
            model=panel.question.predictor.module,  # type: ignore[attr-defined]
            x_batch=panel.image[None].numpy().copy(),
            y_batch=np.array([1]),
            a_batch=panel.maps[which][None, None].copy(),
            s_batch=None if panel.mask is None else panel.mask[None, None],
            channel_first=True, softmax=False, device="cpu",
        )  # fmt: skip
    return np.asarray(found)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("scaled", [False, True])
def test_captum_infidelity_with_the_same_perturbations(axes: int, scaled: bool) -> None:
    from captum.metrics import infidelity

    panel, network = asked(axes, side=12 if axes == 2 else 8)
    ours = Infidelity(samples=32, features=4, fill=0.0, scaled=scaled, relative=False)(panel)
    gone = torch.from_numpy(hidden_in(network, panel).reshape(32, 1, *panel.size)).float()
    said, falls = panel.subsets(count=32, share=0.2, fill=0.0, features=4)
    turned = scaled & ((said * falls).mean(axis=1) < 0)  # Captum turns such a map round; we leave nothing of it
    assert turned.any() == scaled
    np.testing.assert_allclose(ours[turned], np.square(falls).mean())
    for values, mine in zip(panel.maps[~turned], ours[~turned], strict=True):
        theirs = infidelity(
            network.network,
            lambda x: (gone, x * (1 - gone)),
            panel.image[None],
            torch.from_numpy(values[None, None]).float(),
            target=1, n_perturb_samples=32, normalize=scaled,
        )  # fmt: skip
        assert mine == pytest.approx(float(theirs), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs", "more"),
    [
        (Sparseness(), "Sparseness", {"abs": True}),
        (Complexity(), "Complexity", {"abs": True}),
        (PointingGame(), "PointingGame", {}),
        (RelevanceRank(), "RelevanceRankAccuracy", {}),
        (RelevanceMass(), "RelevanceMassAccuracy", {}),
    ],
)
def test_quantus_on_the_map_alone(quantus: Any, ours: Any, theirs: str, more: dict[str, Any]) -> None:
    panel, _ = asked()
    metric = getattr(quantus, theirs)(**{**PLAIN, **more})
    for which in range(3):
        if theirs == "RelevanceMassAccuracy" and which == 0:
            continue  # ours leaves out what speaks against the target
        found = float(by_quantus(metric, panel, which)[0])
        assert ours(panel)[which] == pytest.approx(found, abs=2e-6)  # theirs adds 1e-7 to every voxel


def test_quantus_faithfulness_estimate_voxel_by_voxel(quantus: Any) -> None:
    panel, _ = asked()
    ours = FaithfulnessEstimate(features=12, fill=0.0)(panel)
    metric = quantus.FaithfulnessEstimate(features_in_step=1, perturb_baseline=0.0, **PLAIN)
    np.testing.assert_allclose(ours, [by_quantus(metric, panel, k)[0] for k in range(3)], atol=1e-5)


def test_quantus_faithfulness_correlation_with_the_same_subsets(
    quantus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, network = asked()
    ours = FaithfulnessCorrelation(samples=24, features=12, fill=0.0)(panel)
    gone = hidden_in(network, panel)
    assert (gone.sum(axis=1) == 29).all()
    metric = quantus.FaithfulnessCorrelation(
        nr_runs=24, subset_size=29, perturb_baseline=0.0, return_aggregate=False, **PLAIN
    )
    for which in range(3):
        drawn = iter(gone)
        monkeypatch.setattr(np.random, "choice", lambda *_, it=drawn, **__: np.flatnonzero(next(it)))
        assert by_quantus(metric, panel, which)[0] == pytest.approx(ours[which], abs=1e-5)


def test_quantus_pixel_flipping_has_our_curve(quantus: Any) -> None:
    panel, _ = asked()
    metric = quantus.PixelFlipping(features_in_step=8, perturb_baseline=0.0, **PLAIN)
    ours = PixelFlipping(steps=18, fill=0.0)(panel)
    for which in range(3):
        theirs = by_quantus(metric, panel, which)[0]
        np.testing.assert_allclose(panel.curves(steps=18, fill=0.0)[which, 1:], theirs, atol=1e-5)
        assert ours[which] == pytest.approx(panel.whole - np.mean([panel.whole, *theirs]), abs=1e-5)


@pytest.mark.parametrize("name", ["RegionPerturbation", "Selectivity"])
def test_quantus_regions_of_one_channel_with_a_number_to_fill_them(quantus: Any, name: str) -> None:
    panel, _ = asked()
    more = {"regions_evaluation": 36} if name == "RegionPerturbation" else {}
    theirs = by_quantus(getattr(quantus, name)(patch_size=2, perturb_baseline=0.0, **more, **PLAIN), panel, 0)[
        0
    ]
    ours = panel.region_curves(steps=36, features=6, fill=0.0)[0, 1:]
    np.testing.assert_allclose(panel.whole - ours if more else ours, theirs, atol=1e-5)


def test_quantus_imputation_of_road(quantus: Any) -> None:
    from quantus.functions.perturb_func import noisy_linear_imputation

    panel, _ = asked(channels=3)
    values = panel.image.double().numpy()
    gone = panel.ranks()[0] < 100
    theirs = noisy_linear_imputation(values, np.flatnonzero(gone), noise=0.0)
    ours = impute(values.reshape(3, -1), gone, neighbours(panel.size))
    np.testing.assert_allclose(ours, theirs.reshape(3, -1), atol=1e-4)


# Below: where Quantus 0.6.0 is not right, so that nobody mends ours after it.


def test_quantus_sensitivity_n_compares_a_step_with_the_fall_of_all_steps_over_images(quantus: Any) -> None:
    panel, _ = asked()
    metric = quantus.SensitivityN(features_in_step=8, perturb_baseline=0.0, return_aggregate=False, **PLAIN)
    with pytest.raises(ValueError, match="length at least 2"):
        by_quantus(metric, panel, 0)  # of one image there is no correlation over images
    weights = np.random.default_rng(0).normal(size=(12, 12))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(144, 2, bias=False)).eval()
    with torch.no_grad():
        linear[1].weight[:] = torch.from_numpy(np.stack([-weights.ravel(), weights.ravel()]))
    images = np.random.default_rng(1).uniform(0.5, 2, (8, 1, 12, 12)).astype(np.float32)
    worth = images * weights

    def theirs(count: int, batch: int, maps: NDArray[np.float64] = worth) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return metric(
                model=linear, x_batch=images[:count], y_batch=np.ones(count, dtype=int), a_batch=maps[:count],
                channel_first=True, softmax=False, device="cpu", batch_size=batch,
            )  # fmt: skip

    np.testing.assert_array_equal(theirs(8, 4), theirs(4, 4))  # the second batch is dropped
    assert np.mean(theirs(8, 8)) < 0.9  # the worth map of a linear model, whose sensitivity-n is 1 by theorem
    predictor = TorchPredictor(linear, classes=["a", "b"])
    question = Question(
        predictor=predictor, images=images[:1], target=predictor.target("value:1"), grid=Grid((12, 12))
    )
    assert SensitivityN(fill=0.0)(HeatmapContext(question, worth[0]))[0] == pytest.approx(1, abs=1e-4)


def test_quantus_monotonicity_is_true_of_everything(quantus: Any) -> None:
    panel, _ = asked()
    for which in range(3):
        metric = quantus.Monotonicity(features_in_step=8, perturb_baseline=0.0, **PLAIN)
        assert by_quantus(metric, panel, which)[0]  # it puts the fill into the empty image, not the image


def test_quantus_relevance_mass_leaves_0_to_1(quantus: Any) -> None:
    panel, _ = asked()
    signed = HeatmapContext(panel.question, np.where(panel.mask, 1.0, -0.1)[None], mask=panel.mask)
    assert by_quantus(quantus.RelevanceMassAccuracy(**PLAIN), signed, 0)[0] > 1
    assert RelevanceMass()(signed)[0] == pytest.approx(1)


def test_quantus_infidelity_draws_nothing_and_needs_a_fitting_patch(quantus: Any) -> None:
    panel, _ = asked()
    once, often = (
        by_quantus(
            quantus.Infidelity(perturb_baseline=0.0, perturb_patch_sizes=[4], n_perturb_samples=n, **PLAIN),
            panel, 0,
        )
        for n in (1, 7)
    )  # fmt: skip
    assert float(once[0]) == pytest.approx(float(often[0]))
    with pytest.raises((ValueError, IndexError)):
        by_quantus(quantus.Infidelity(perturb_baseline=0.0, perturb_patch_sizes=[5], **PLAIN), panel, 0)


def test_quantus_region_perturbation_fills_with_a_mean_that_drifts(quantus: Any) -> None:
    panel, network = asked()
    network.images.clear()
    metric = quantus.RegionPerturbation(patch_size=2, regions_evaluation=36, perturb_baseline="mean", **PLAIN)
    by_quantus(metric, panel, 0)
    last = network.images[-1].unique()
    assert len(last) > 1  # all is hidden, yet not by one number
    network.images.clear()
    metric = quantus.RegionPerturbation(
        patch_size=12, regions_evaluation=1, perturb_baseline="uniform", **PLAIN
    )
    by_quantus(metric, panel, 0)
    assert len(network.images[-1].unique()) == 1  # "uniform" is one number, of 0 to 1 whatever the image


def test_quantus_road_and_irof_of_colour_and_volumes(quantus: Any) -> None:
    from quantus.functions.perturb_func import noisy_linear_imputation

    colour, _ = asked(channels=3)
    with pytest.raises(IndexError):
        by_quantus(quantus.ROAD(percentages=[50], **PLAIN), colour, 0)
    with pytest.raises(AssertionError):
        by_quantus(quantus.IROF(**PLAIN), colour, 0)
    volume, _ = asked(axes=3, side=8)
    with pytest.raises(ValueError, match="3 dimensional"):
        by_quantus(quantus.IROF(**PLAIN), volume, 0)
    gone = np.flatnonzero(volume.ranks()[0] < 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = noisy_linear_imputation(volume.image.double().numpy(), gone, noise=0.0)
    assert not np.isfinite(found).all()  # beyond the first slab no voxel has neighbours


@pytest.mark.skipif(hasattr(np, "trapz"), reason="this NumPy still has trapz")
def test_quantus_areas_need_an_older_numpy(quantus: Any) -> None:
    panel, _ = asked()
    for metric in (
        quantus.IROF(perturb_baseline=0.0, **PLAIN),
        quantus.PixelFlipping(features_in_step=8, return_auc_per_sample=True, **PLAIN),
    ):
        with pytest.raises(AttributeError, match="trapz"):
            by_quantus(metric, panel, 0)


def test_quantus_irof_depends_on_the_other_images_of_the_batch(
    quantus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(np, "trapz"):
        monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    panel, network = asked()
    image = panel.image[None].numpy()

    def score(images: NDArray[np.float32]) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            metric = quantus.IROF(return_aggregate=False, **PLAIN)  # its own fill: the mean
            found = metric(
                model=network, x_batch=images, y_batch=np.ones(len(images), dtype=int),
                a_batch=np.repeat(panel.maps[:1][:, None], len(images), axis=0),
                channel_first=True, softmax=False, device="cpu",
            )  # fmt: skip
        return float(found[0])

    assert score(image) != pytest.approx(score(np.concatenate([image, 10 * image])), rel=0.05)
