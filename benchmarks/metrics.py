"""Speed of metrics against the libraries one would pick instead, at equal numbers of perturbations, in one run.

    python benchmarks/metrics.py [--images 20] [--device cuda] [--page docs/results/speed_metrics.md]

Six metrics of ten methods' maps of images that the shipped knee bundle draws. Every image is a round: ours and
theirs in turns; a ratio is theirs over ours, of medians. Forward passes are counted, scores compared where both
mean the same. Quantus is `pip install quantus==0.6.0`; without it only captum is measured.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import contrafact as cf
from contrafact.core import Image, Question
from contrafact.metrics import (
    Complexity,
    FaithfulnessCorrelation,
    FaithfulnessEstimate,
    HeatmapContext,
    Infidelity,
    PixelFlipping,
    Sparseness,
    evaluate,
)

METHODS = (
    "gradient", "input-x-gradient", "integrated-gradients", "smoothgrad", "guided-backprop", "gradcam",
    "gradcam++", "layercam", "hirescam", "occlusion",
)  # fmt: skip
SAMPLES, STEPS, BOXES = 128, 16, 8
Scores = NDArray[np.float64]

DISAGREEMENTS = """
## Where scores agree

*Apart* is the greatest difference of the scores of a map, as a share of the greatest score of the knee's
maps, over all knees; maps with equal voxels (CAMs, occlusion) are left out, since of equal voxels ours takes
a random order and Quantus that of memory. Sparseness differs for maps of small values, to which Quantus adds
1e-7 per voxel. Faithfulness correlation and estimate are not compared in the table: Quantus hides single
voxels, or runs of 64 voxels of one rank, where ours hides boxes.

`tests/test_metric_oracles.py` holds the agreement on equal perturbations: captum's infidelity
(`scaled=False, relative=False`; its `normalize` is our `scaled`) to 1e-5 in 2D and 3D; Quantus' sparseness,
complexity, pointing game, relevance rank, relevance mass of a map without negative voxels, faithfulness
correlation and estimate, pixel-flipping, and of one channel, filled with a number, region perturbation and
selectivity; the imputation of ROAD in 2D.

Of pixel-flipping nothing can be shared, since every map hides other voxels: both sides take as long as the
passes.

## Where they do not, and why

What Quantus 0.6.0 does; the same file holds it by tests, which run where Quantus is installed:

* **Every metric that hides**: of several channels it hides one channel of a voxel at a time, with the map
  repeated for each; ours hides the voxel. A `"mean"` or `"black"` is taken again at every step from the
  image as it is by then, half hidden, so the fill drifts; `"uniform"` is one number for the whole image,
  from 0 to 1 whatever the image's units.
* **Sensitivity-n** adds up no subset: the attribution of one step of the ranking is compared with the fall
  of all steps so far, and the correlation runs over images instead of subsets. One image is an error; the
  worth map of a linear model, which scores 1 by theorem, does not. Ours follows Ancona et al. 2018.
* **Monotonicity** writes the fill into an image that is already the fill, so the curve is flat and every
  map scores True.
* **Infidelity** walks over all patches without resetting the image, so perturbations pile up; nothing is
  drawn, so `n_perturb_samples` repeats one number; a patch size that does not divide the image is an error.
* **ROAD** gives the accuracy of the predicted class over images, 0 or 1 for a single one, not the fall of
  the target; a map of a colour image is an IndexError; in 3D the neighbours are computed as if the volume
  were a picture, and the result is not finite. Its noise is 0.01 in whatever units the image has.
* **IROF** and every area under a curve call `numpy.trapz`, which NumPy 2.4 no longer has. With it put back:
  more than one channel is an AssertionError; 3D is refused; the mean is of the whole batch, so that an
  image's score depends on its neighbours; the area is not divided by the number of superpixels, nor the
  curve begun at the image itself, so images of many superpixels score higher.
* **Region perturbation and selectivity** are for 2D only.
* **Relevance mass** divides by the signed sum, which may be near 0: the share leaves 0 to 1. Ours counts
  what is positive.
* **Sensitivity-n and ROAD** keep the first batch of a longer list of images and drop the others.

captum's infidelity runs the model for every map anew, since the perturbation and the map come in one call;
the perturbed images do not depend on the map.
"""


class Answer(nn.Module):
    """The target as a module of raw images, which counts them: what the other libraries are given."""

    def __init__(self, predictor: Any, target: Any) -> None:
        super().__init__()
        self.predictor, self.target, self.passes = predictor, target, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += len(x)
        value = self.target(self.predictor(x))
        return torch.stack([-value, value], dim=1)


def ours(fill: float) -> dict[str, Any]:
    return {
        "infidelity": Infidelity(samples=SAMPLES, features=BOXES, fill=fill, scaled=False, relative=False),
        "faithfulness-correlation": FaithfulnessCorrelation(samples=SAMPLES, features=BOXES, fill=fill),
        "faithfulness-estimate": FaithfulnessEstimate(features=BOXES, fill=fill),
        "pixel-flipping": PixelFlipping(steps=STEPS, fill=fill),
        "sparseness": Sparseness(),
        "complexity": Complexity(),
    }


def by_captum(answer: Answer, panel: HeatmapContext, fill: float) -> Scores:
    """With the subsets that our infidelity draws, so that the scores can be compared."""
    from captum.metrics import infidelity

    labels = panel.features("grid", BOXES).ravel()
    draws = panel.rng("subsets", SAMPLES, 0.2, BOXES).random((SAMPLES, BOXES**2)).argsort(axis=1)
    gone = (draws < round(0.2 * BOXES**2))[:, labels].reshape(SAMPLES, 1, *panel.size)
    every = torch.from_numpy(gone).to(panel.device)

    def one(values: NDArray[np.float64]) -> float:
        place = 0

        def perturb(x: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal place
            hide = every[place : place + len(x)]
            place += len(x)
            return hide.float(), torch.where(hide, fill, x)

        given = torch.from_numpy(values[None, None]).float().to(panel.device)
        with torch.no_grad():
            found = infidelity(
                answer, perturb, panel.image[None], given, target=1,
                n_perturb_samples=SAMPLES, max_examples_per_batch=64,
            )  # fmt: skip
        return float(found)

    return np.array([one(values) for values in panel.maps])


def by_quantus(answer: Answer, panel: HeatmapContext, metric: Any) -> Any:
    """All maps of the image as one batch, which is the best that it can do."""
    count = len(panel.maps)
    return metric(
        model=answer,
        x_batch=np.repeat(panel.image[None].cpu().numpy(), count, axis=0),
        y_batch=np.ones(count, dtype=int),
        a_batch=panel.maps[:, None].copy(),
        channel_first=True, softmax=False, device=panel.device, batch_size=64,
    )  # fmt: skip


def flipped(answer: Answer, panel: HeatmapContext, metric: Any) -> Scores:
    """The mean fall from Quantus' curve, which has no first point."""
    curves = np.array(by_quantus(answer, panel, metric))
    whole = panel.whole
    return whole - np.concatenate([np.full((len(curves), 1), whole), curves], axis=1).mean(axis=1)


def theirs(fill: float) -> dict[str, tuple[str, Callable[[Answer, HeatmapContext], Any], bool]]:
    """By metric: the library, what it does, and whether its scores mean what ours do."""
    found: dict[str, tuple[str, Callable[[Answer, HeatmapContext], Any], bool]] = {
        "infidelity": ("captum", lambda answer, panel: by_captum(answer, panel, fill), True)
    }
    try:
        import quantus
    except ImportError:
        print("Quantus is not installed: only captum is measured")
        return found
    plain: dict[str, Any] = {"disable_warnings": True, "normalise": False, "abs": False}
    voxels = 64 * 64
    many = quantus.FaithfulnessCorrelation(
        nr_runs=SAMPLES, subset_size=round(0.2 * voxels), perturb_baseline=fill, return_aggregate=False, **plain
    )
    each = quantus.FaithfulnessEstimate(features_in_step=voxels // BOXES**2, perturb_baseline=fill, **plain)
    flip = quantus.PixelFlipping(features_in_step=voxels // STEPS, perturb_baseline=fill, **plain)
    gini, entropy = (make(**{**plain, "abs": True}) for make in (quantus.Sparseness, quantus.Complexity))
    found["faithfulness-correlation"] = ("Quantus", lambda a, p: by_quantus(a, p, many), False)
    found["faithfulness-estimate"] = ("Quantus", lambda a, p: by_quantus(a, p, each), False)
    found["pixel-flipping"] = ("Quantus", lambda a, p: flipped(a, p, flip), True)
    found["sparseness"] = ("Quantus", lambda a, p: by_quantus(a, p, gini), True)
    found["complexity"] = ("Quantus", lambda a, p: by_quantus(a, p, entropy), True)
    return found


class Tally:
    """Seconds, passes and the greatest difference of scores, of one row of the table."""

    def __init__(self) -> None:
        self.seconds: tuple[list[float], list[float]] = ([], [])
        self.passes, self.apart = [0, 0], 0.0

    def add(self, mine: tuple[float, int], other: tuple[float, int]) -> None:
        for side, (seconds, passes) in enumerate((mine, other)):
            self.seconds[side].append(seconds)
            self.passes[side] = passes

    def row(self, name: str, library: str, compared: bool, wanted: str = "") -> str:
        mine, other = (1000 * statistics.median(part) for part in self.seconds)
        apart = f"{self.apart:.0e}" if compared else "other features"
        row = (
            f"| {name} | {library} | {mine:.1f} | {other:.1f} | {other / mine:.1f} | {wanted} | "
            f"{self.passes[0]} | {self.passes[1]} | {apart} |"
        )
        print(row, flush=True)
        return row


def timed(job: Callable[[], Any], device: str) -> tuple[Any, float]:
    began = time.perf_counter()
    found = job()
    if device != "cpu":
        torch.cuda.synchronize()
    return found, time.perf_counter() - began


def knees(count: int, device: str) -> tuple[Any, list[Image]]:
    bundle = cf.load_bundle("knee")
    bundle.predictor.module.to(device)
    bundle.predictor.device = torch.device(device)
    with torch.no_grad():
        latents = bundle.generator.sample(count, torch.Generator().manual_seed(0))
        drawn = bundle.generator.decode(latents).clamp(-1, 1).cpu().numpy()
    return bundle.predictor, [Image((values + 1) * 127.5, window=(0, 255)) for values in drawn]


def panels(predictor: Any, image: Image) -> Callable[[], HeatmapContext]:
    """Makes fresh panels of the ten maps, so that nothing is known before."""
    target = predictor.target("class:1")
    maps = np.stack([cf.explain(name, predictor, image, target="class:1").values for name in METHODS])
    question = Question(predictor=predictor, images=image.values[None], target=target, grid=image.grid)
    return lambda: HeatmapContext(question, maps)


def apart(panel: HeatmapContext, found: Scores, given: Scores) -> float:
    """The greatest difference of a map's scores, as a share of the greatest score; of maps without equal
    voxels, whose order is nobody's."""
    clear = [len(np.unique(values)) == values.size for values in panel.maps]
    return float(np.abs(found - given)[clear].max() / np.abs(found)[clear].max())


def measure(count: int, device: str) -> list[str]:
    predictor, images = knees(count, device)
    fill = float(np.mean([image.values.mean() for image in images]))
    others, mine = theirs(fill), ours(fill)
    answer = Answer(predictor, predictor.target("class:1")).eval()
    tallies = {name: Tally() for name in ("all", *others)}
    with predictor.frozen():
        panels(predictor, images[0])().score(torch.zeros(64, *images[0].values.shape, device=device))  # warm up
        for image in images:
            fresh = panels(predictor, image)
            total, passes = 0.0, 0
            for name, (_, job, compared) in others.items():
                panel = fresh()
                found, seconds = timed(lambda p=panel, n=name: mine[n](p), device)
                answer.passes = 0
                given, spent = timed(lambda j=job, p=panel: j(answer, p), device)
                total, passes = total + spent, passes + answer.passes
                tallies[name].add((seconds, panel.passes), (spent, answer.passes))
                if compared:
                    tallies[name].apart = max(tallies[name].apart, apart(panel, found, np.asarray(given)))
            panel = fresh()
            suite = [mine[name] for name in others]
            _, seconds = timed(lambda p=panel, s=suite: list(evaluate(p, s, METHODS)), device)
            tallies["all"].add((seconds, panel.passes), (total, passes))
    rows = [tallies[name].row(name, others[name][0], others[name][2]) for name in others]
    return [tallies["all"].row(f"all {len(others)} together", "each below", False, "5"), *rows]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--images", type=int, default=20)
    words.add_argument("--device", default="cpu")
    words.add_argument("--page", type=Path)
    asked = words.parse_args()
    warnings.simplefilter("ignore")
    rows = measure(asked.images, asked.device)
    rows[0] = rows[0].replace("other features", "")
    threads = torch.get_num_threads()
    what = torch.cuda.get_device_name() if asked.device != "cpu" else f"CPU, {threads} thread(s)"
    lines = [
        "# Speed of metrics", "",
        f"`python benchmarks/metrics.py --device {asked.device} --page …` on {what}: ten maps of a drawn",
        f"knee (64², the shipped classifier), {asked.images} knees, ours and theirs in turns; medians over",
        f"knees, per knee. {SAMPLES} subsets, {BOXES**2} features, {STEPS} steps on both sides. Ours hides a",
        "subset once for all maps, and once for all metrics of the same subsets; a row by itself starts from",
        "nothing.", "",
        "| metric | against | ours, ms | theirs, ms | ratio | wanted | passes, ours | theirs | scores apart |",
        "| --- " * 9 + "|", *rows, DISAGREEMENTS,
    ]  # fmt: skip
    if asked.page:
        asked.page.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
