"""Explain 3D segmenters of vessels from end to end, on phantoms as large as a slab of TOF-MRA.

    python -m experiments.evaluate.vessels --page docs/results/vessels.md --pictures docs/pictures

Two networks of MONAI are trained on phantoms; a study explains them on a whole volume through patches, another
with every method of TorchEsegeta that a segmenter has, on one patch. Every part is kept in the folder (`--out`)
and not made again: a run that was stopped goes on. Times are CPU seconds of the process.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

import contrafact as cf
from contrafact.core import Image
from contrafact.io import Run, open_run, read_json, write_atomic, write_json
from contrafact.models import TiledPredictor
from contrafact.render.figures import Pixels, overlay, panel, png, signed_projection
from contrafact.render.pixels import grey, signed_scale
from contrafact.study.runner import study
from experiments.evaluate.vessel_volumes import SIZE, SPACING_MM, vessel_volume
from experiments.tables import table

WINDOW = (0.0, 280.0)
PATCH, OVERLAP, CROP = 64, 0.25, 32
TRAINING, STEPS, BATCH = 3, 400, 4
SHARED = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "act": "RELU"}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("UNet", {**SHARED, "channels": [8, 16, 32], "strides": [2, 2], "num_res_units": 1}),
    "segresnet": (
        "SegResNet",
        {
            **SHARED,
            "init_filters": 4,
            "blocks_down": [1, 1, 2],
            "blocks_up": [1, 1],
            "norm": ["GROUP", {"num_groups": 4}],
        },
    ),
}
# On the whole volume: gradient methods, which need no layer; a model of patches has none.
WHOLE = {
    "gradient": "",
    "input-x-gradient": "",
    "integrated-gradients": "steps = 4",
    "gradient-shap": "samples = 2",
    "smooth": "samples = 2\ninner = { name = 'gradient' }",
}
# On one patch: the methods of docs/parity-torchesegeta.md that explain an image; sampled ones with few samples.
ON_A_PATCH = {
    "gradient": "", "input-x-gradient": "", "integrated-gradients": "steps = 8", "gradient-shap": "samples = 4",
    "smooth": "samples = 4\ninner = { name = 'gradient' }", "guided-backprop": "", "deconvolution": "",
    "filter-guided-backprop": "", "deeplift": "", "deeplift-shap": "", "excitation-backprop": "",
    "gradcam": "", "guided-gradcam": "", "hirescam": "", "score-cam": "", "layer-activation": "",
    "layer-conductance": "steps = 8", "layer-deeplift": "", "layer-gradient-shap": "samples = 4",
    "internal-influence": "steps = 8", "occlusion": "box = 16\nstride = 16", "feature-ablation": "count = 4",
    "shapley-sampling": "count = 2\nsamples = 4", "rise": "masks = 64", "lime": "count = 4\nsamples = 64",
}  # fmt: skip
METRICS = {
    "whole": {"infidelity": "samples = 12", "relevance-mass": ""},
    "patch": {"infidelity": "samples = 48", "max-sensitivity": "samples = 1", "relevance-mass": ""},
}


def save_volume(path: Path, values: NDArray[Any]) -> None:
    """Write a volume (D, H, W) as NIfTI, with its voxels' size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*SPACING_MM[::-1], 1.0])
    nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0), affine), path)  # type: ignore[no-untyped-call]


def write_volumes(out: Path) -> None:
    """Write the volume that is explained, the patch of it with most vessels, and their masks."""
    if (out / "masks_patch/patch.nii.gz").exists():
        return
    volume = vessel_volume(np.random.default_rng(100))
    corners = [(0, y, x) for y in range(0, 193, 32) for x in range(0, 193, 32)]
    z, y, x = max(corners, key=lambda c: int(volume.mask[:, c[1] : c[1] + PATCH, c[2] : c[2] + PATCH].sum()))
    box = (slice(z, z + PATCH), slice(y, y + PATCH), slice(x, x + PATCH))
    for name, part in (("whole", (slice(None),) * 3), ("patch", box)):
        save_volume(out / f"images_{name}/{name}.nii.gz", volume.values[part])
        save_volume(out / f"masks_{name}/{name}.nii.gz", volume.mask[part].astype(np.uint8))


def made(name: str) -> nn.Module:
    import monai.networks.nets as nets

    kind, arguments = NETWORKS[name]
    torch.manual_seed(sorted(NETWORKS).index(name))
    network: nn.Module = getattr(nets, kind)(**arguments)
    return network


def crops(volumes: Sequence[Any], rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of crops (N, 1, 32, 32, 32) and masks; every second one is centred on a vessel."""
    places = [np.argwhere(volume.mask) for volume in volumes]
    while True:
        values, masks = [], []
        for number in range(BATCH):
            which = int(rng.integers(len(volumes)))
            size = np.array(volumes[which].mask.shape)
            low = rng.integers(0, size - CROP + 1)
            if number % 2:
                low = np.clip(places[which][rng.integers(len(places[which]))] - CROP // 2, 0, size - CROP)
            box = tuple(slice(int(a), int(a) + CROP) for a in low)
            values.append(volumes[which].values[box])
            masks.append(volumes[which].mask[box])
        yield torch.from_numpy(np.stack(values))[:, None], torch.from_numpy(np.stack(masks))[:, None].float()


def train(name: str, out: Path) -> None:
    """Train a network and write its weights and description, unless they are there."""
    if (out / f"{name}.json").exists():
        return
    from monai.losses.dice import DiceCELoss

    volumes = [vessel_volume(np.random.default_rng(seed)) for seed in range(TRAINING)]
    network, began = made(name), time.process_time()
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False)
    adam = torch.optim.AdamW(network.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 4e-3, total_steps=STEPS)
    batches = crops(volumes, np.random.default_rng(7))
    for step in range(STEPS):
        values, masks = next(batches)
        loss = loss_of(network((values - WINDOW[0]) / (WINDOW[1] - WINDOW[0])), masks)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if step % 50 == 0:
            print(f"{name} {step}: loss {float(loss.detach()):.3f}", flush=True)
    save_file(network.state_dict(), out / f"{name}.safetensors")
    write_json(out / f"{name}.seconds.json", {"training": time.process_time() - began})
    kind, arguments = NETWORKS[name]
    about: dict[str, Any] = {"factory": f"monai.networks.nets:{kind}", "arguments": arguments}
    about |= {"weights": f"{name}.safetensors", "classes": ["background", "vessel"]}
    write_json(out / f"{name}.json", {**about, "preprocessing": {"window": list(WINDOW)}})


def write_study(out: Path, name: str, methods: dict[str, str]) -> Path:
    """Write the file of a study of both networks; on the whole volume they take patches."""
    lines = [f'images = ["images_{name}/*.nii.gz"]', f'masks = "masks_{name}/{{stem}}.nii.gz"']
    lines += [
        f'out = "run_{name}"',
        f'title = "Vessels, {name}"',
        'targets = ["region:1"]',
        'devices = ["cpu"]',
    ]
    for network in NETWORKS:
        lines += ["", f"[models.{network}]", f'path = "{network}.json"']
        lines += [f"patch = [{PATCH}, {PATCH}, {PATCH}]", f"overlap = {OVERLAP}"] if name == "whole" else []
    for kind, entries in (("methods", methods), ("metrics", METRICS[name])):
        for label, settings in entries.items():
            lines += ["", f"[{kind}.{label}]", *([settings] if settings else [])]
    path = out / f"{name}.toml"
    write_atomic(path, ("\n".join(lines) + "\n").encode())
    return path


def peak_mb(*, reset: bool = False) -> float:
    """The greatest resident memory since the last reset, in MB; NaN where only Linux tells it."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        told = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    return float(next(line for line in told.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def run_study(out: Path, name: str, methods: dict[str, str]) -> None:
    """Run a study, or go on with it; note the CPU seconds and the memory of each part."""
    costs = out / f"costs_{name}.jsonl"
    began, _ = time.process_time(), peak_mb(reset=True)
    for progress in study(write_study(out, name, methods), engine="local"):
        task = progress.task
        about = {"model": task.model, "label": getattr(task, "label", "metrics")}
        seconds = time.process_time() - began
        with costs.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**about, "seconds": seconds, "mb": peak_mb()}) + "\n")
        print(f"{name} {about} {seconds:.1f} s", flush=True)
        began, _ = time.process_time(), peak_mb(reset=True)


def costs_of(out: Path, name: str) -> dict[tuple[str, str], dict[str, float]]:
    """Costs by model and label; the last of each."""
    lines = (out / f"costs_{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return {(one["model"], one["label"]): one for one in map(json.loads, lines)}


def scores_of(run: Run) -> dict[tuple[str, str, str], float]:
    """Values of metrics by model, method and metric."""
    return {
        (row["model"], score["method"], score["metric"]): score["value"]
        for row in run.scores().values()
        for score in row["scores"]
        if score["value"] is not None
    }


def results_table(out: Path, name: str, methods: Sequence[str]) -> str:
    """The table of a study: every method on both networks."""
    run, costs = open_run(out / f"run_{name}"), costs_of(out, name)
    scores, metrics = scores_of(run), list(METRICS[name])
    reasons = {(row["model_name"], row["method"]): row["error"] for row in run.failures()}
    names = [*methods, *sorted({method for _, method, _ in scores} - set(methods))]
    rows = []
    for method in names:
        line = [f"`{method}`" if method in methods else method]
        for model in NETWORKS:
            if (model, method) in reasons:
                line += ["refused", *["–"] * (len(metrics) + 1)]
                continue
            cost = costs.get((model, method))
            line += [f"{cost['seconds']:.1f}", f"{cost['mb']:.0f}"] if cost else ["–", "–"]
            line += [_figure(scores.get((model, method, metric))) for metric in metrics]
        rows.append(line)
    heads = [f"{model}: {head}" for model in NETWORKS for head in ("CPU s", "MB", *metrics)]
    told = sorted(
        {f"`{method}` ({model}): {text.split(' (')[0]}." for (model, method), text in reasons.items()}
    )
    return table(["method", *heads], rows) + "".join(f"\n* {line}" for line in told) + "\n"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def segmented(out: Path) -> dict[str, tuple[NDArray[np.bool_], float, float, float]]:
    """The vessels that each network finds in the whole volume through patches: mask, Dice, CPU seconds, MB."""
    image, truth = cf.read_image(out / "images_whole/whole.nii.gz"), _mask(out)
    found = {}
    for name in NETWORKS:
        kept = out / f"found_{name}.npz"
        if not kept.exists():
            tiled = TiledPredictor(cf.load_predictor(out / f"{name}.json"), (PATCH,) * 3, overlap=OVERLAP)  # type: ignore[arg-type]
            began, _ = time.process_time(), peak_mb(reset=True)
            with torch.no_grad():
                mask = tiled(image.values[None])[0].argmax(dim=0).numpy() == 1
            np.savez_compressed(kept, mask=mask, cost=[time.process_time() - began, peak_mb()])
        with np.load(kept) as file:
            mask, (seconds, mb) = file["mask"], file["cost"].tolist()
        dice = 2 * float((mask & truth).sum()) / float(mask.sum() + truth.sum())
        found[name] = (mask, dice, seconds, mb)
    return found


def _mask(out: Path) -> NDArray[np.bool_]:
    return np.asarray(cf.read_image(out / "masks_whole/whole.nii.gz").values[0] > 0.5)


def maps_of(out: Path, name: str) -> tuple[Image, dict[tuple[str, str], NDArray[np.float32]]]:
    """The image of a study and its maps by model and method."""
    run = open_run(out / f"run_{name}")
    maps = {(row["model_name"], row["label"]): arrays["values"] for row, arrays in run.results()}
    return cf.read_image(out / f"images_{name}/{name}.nii.gz"), maps


def projections(out: Path, name: str, methods: Sequence[str], *, axis: int = 0, zoom: int = 1) -> Pixels:
    """Maximum intensity projections: the image, and over it the strongest evidence of each method, a row for
    each network; each map at per-image scale."""
    image, maps = maps_of(out, name)
    values = image.values.max(axis=axis + 1)
    rows = []
    for model in NETWORKS:
        pictures = [(f"image ({model})", grey(values, WINDOW))]
        if name == "whole":
            mask = segmented(out)[model][0].max(axis=axis).astype(np.float32)
            pictures.append(("found", grey(mask[None], (0.0, 1.0))))
        for method in methods:
            if (model, method) in maps:
                flat = signed_projection(maps[model, method], axis)
                kind: Any = {"window": WINDOW, "scale": signed_scale([flat]) or 1.0, "kind": "signed"}
                pictures.append((method, overlay(values, flat, **kind)))
        rows.append(panel(pictures, scale=1.0, height=zoom * values.shape[1]))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])


def page_of(out: Path) -> str:
    """The page of results."""
    found = segmented(out)
    training = {name: read_json(out / f"{name}.seconds.json")["training"] for name in NETWORKS}
    lines = [
        [name, NETWORKS[name][0], f"{training[name]:.0f}", f"{dice:.3f}", f"{seconds:.1f}", f"{mb:.0f}"]
        for name, (_, dice, seconds, mb) in found.items()
    ]
    head = ["network", "of MONAI", "training, CPU s", "Dice, whole volume", "segmenting it, CPU s", "MB"]
    tiles = len(
        TiledPredictor(cf.load_predictor(out / "unet.json"), (PATCH,) * 3, overlap=OVERLAP).windows(SIZE)
    )  # type: ignore[arg-type]
    return PAGE.format(
        networks=table(head, lines),
        tiles=tiles,
        whole=results_table(out, "whole", list(WHOLE)),
        patch=results_table(out, "patch", list(ON_A_PATCH)),
        whole_metrics=f"{costs_of(out, 'whole')['unet', 'metrics']['seconds']:.0f}",
        steps=STEPS,
    )


PAGE = """# Segmenters of vessels in 3D, from end to end

Made by `python -m experiments.evaluate.vessels --page docs/results/vessels.md --pictures docs/pictures`
(resumable). Times are CPU seconds, with one thread; memory is the peak resident memory of the process, with
torch and the network.

**These are phantoms.** The time-of-flight MR angiographs and the networks of TorchEsegeta
([arXiv 2110.08429](https://arxiv.org/abs/2110.08429)) could not be had here, so nothing on this page says how
methods rank on real angiographs. [How to do the same on your own TOF-MRA](../how-to/tof-mra.md).

A volume is 256 × 256 × 64 voxels of 0.4 × 0.4 × 0.6 mm: branching vessels of 1 to 4 voxels in radius, the
thinnest darkest, in a brain of two tissues under an uneven coil, with Rician noise. Two networks were
trained on three other volumes ({steps} steps of four crops of 32³).

{networks}
## The whole volume, through patches

{tiles} patches of 64³ that overlap by a quarter are blended to one map of scores, and the gradient of the
target, the mean log-odds over all voxels in which the network finds a vessel (`region:1`), goes back
through the blend exactly. Methods that read a layer are refused here in words: a model of patches has no
layer of the whole volume. Infidelity: lower is better, 1 is a map of zeros; 12 perturbations of the volume,
which all maps share ({whole_metrics} CPU s for the U-Net with the mass). Relevance mass: share of the
positive evidence in the planted vessels. One volume: no intervals. A method whose infidelity is not below that
of the centre blob, which knows no network, shows nothing by this metric.

{whole}
![projections of the volume, of what each network finds and of the maps](../pictures/vessels_3d.png)

Projections keep the sign: the value of largest magnitude along the slices, each map at per-image scale, in
full size. The SegResNet takes parts of the brain's rim for vessels, and its maps show it. Faint squares are
patches: both networks normalise over a patch, so that what a voxel does depends on the patch it lies in.

## Every method of TorchEsegeta, on one patch

The 64³ patch with most vessels, without tiling; the methods of [the parity list](../parity-torchesegeta.md)
that explain an image, sampled ones with few samples (`ON_A_PATCH` in the script). Max-sensitivity: the
change of the map under noise of 2 % of the image's range, as a share of the map, one draw; lower is better.
Rows without backticks are reference maps, which know no network.

{patch}
![maximum intensity projections of the maps on the patch](../pictures/vessels_3d_patch.png)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/vessels"))
    parser.add_argument("--page", type=Path, help="where to write the page")
    parser.add_argument("--pictures", type=Path, help="the folder for its pictures")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    write_volumes(given.out)
    for name in NETWORKS:
        train(name, given.out)
    segmented(given.out)
    for name, methods in (("whole", WHOLE), ("patch", ON_A_PATCH)):
        run_study(given.out, name, methods)
    if given.pictures:
        shown = [m for m in ON_A_PATCH if m not in ("smooth", "filter-guided-backprop")]
        for name, pixels in (
            ("vessels_3d", projections(given.out, "whole", list(WHOLE))),
            ("vessels_3d_patch", projections(given.out, "patch", shown[:10], zoom=3)),
        ):
            write_atomic(given.pictures / f"{name}.png", png(pixels))
    if given.page:
        write_atomic(given.page, page_of(given.out).encode())


if __name__ == "__main__":
    main()
