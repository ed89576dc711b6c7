"""Explain segmenters trained by others on real images, and write pictures of their heatmaps.

    pip install unet
    python -m experiments.train.hippocampus ../shared/data/msd_task04_hippocampus
    python -m experiments.evaluate.segmenters ../shared/data --out docs/pictures

Writes a panel for each network and docs/results/segmenters.md with the measurements.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Picture

import contrafact as cf
from contrafact.core import Grid, Heatmap, Image
from contrafact.io import write_atomic
from contrafact.models import TorchPredictor, load_predictor
from contrafact.render.figures import Pixels, across, overlay, panel, png, telling_slice
from contrafact.render.pixels import grey, signed_scale
from experiments.evaluate.segmenter_networks import HippoNet, WNet
from experiments.tables import table

Row = tuple[str, str, str]


def dice(found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    return float(2 * (found & wanted).sum() / max(1, found.sum() + wanted.sum()))


def share_near(heat: Heatmap, place: np.ndarray[Any, Any], mm: float) -> float:
    """Share of a map's weight within so many mm of a place."""
    from scipy.ndimage import distance_transform_edt

    near = distance_transform_edt(~place, sampling=heat.grid.spacing_mm) <= mm
    return float(np.abs(heat.values)[near].sum() / np.abs(heat.values).sum())


def drawn(
    image: Image, heats: Sequence[tuple[str, Heatmap]], place: np.ndarray[Any, Any], quarters: int = 0
) -> Pixels:
    """The image, the place that was explained, and its maps, each on a per-image scale; of a volume the slice
    with most of the place, turned by so many quarters so that it stands upright."""
    values, at = image.values, None
    if values.ndim == 4:
        at = telling_slice(place.astype(float), 1)
        values = np.rot90(across(values, at, 2)[:, ::-1], quarters, axes=(1, 2))

    def flat(volume: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return volume if at is None else np.rot90(across(volume, at, 1)[::-1], quarters)

    pictures = [("image", grey(values, image.window))]
    values = values.mean(axis=0, keepdims=True)  # colour is for the maps
    for name, volume in [("explained", place.astype(float)), *((n, h.values) for n, h in heats)]:
        scale = signed_scale([volume]) or 1.0
        pictures.append((name, overlay(values, flat(volume), window=image.window, scale=scale, kind="signed")))
    return panel(pictures, scale=1.0, height=320)


def maps_of(
    predictor: Any, image: Image, target: str, methods: dict[str, dict[str, Any]], **more: Any
) -> list[tuple[str, Heatmap]]:
    return [
        (name, cf.explain(name, predictor, image, target=target, **more, **given))
        for name, given in methods.items()
    ]


def vessels(data: Path) -> tuple[Pixels, list[Row]]:
    """W-Net on a retina: what it takes for a vessel, and what makes it see one that is none."""
    network = WNet()
    saved = torch.load(data / "weights/lwnet_wnet_drive.pth", weights_only=True, map_location="cpu")
    network.load_state_dict(saved["model_state_dict"])
    predictor = TorchPredictor(network.eval(), classes=["vessel"], output="sigmoid")
    with Picture.open(data / "chase_db1/Image_01L.jpg") as file:
        pixels = np.asarray(file.resize((512, 512)), dtype=np.float32) / 255
    with Picture.open(data / "chase_db1/Image_01L_1stHO.png") as file:
        mask = np.asarray(file.convert("L").resize((512, 512), Picture.Resampling.NEAREST)) > 0
    image = Image(np.moveaxis(pixels, -1, 0), window=(0.0, 1.0))
    with torch.no_grad():
        found = torch.sigmoid(network(torch.from_numpy(image.values[None])))[0, 0].numpy() > 0.45
    reference = Image(mask[None].astype(np.float32))
    methods = {"integrated-gradients": {"baseline": "blur"}, "lrp": {}, "gradcam": {"layer": "unet2.up_path.0"}}
    heats = maps_of(predictor, image, "region:0@0.45", methods)
    wrong = cf.explain(
        "integrated-gradients",
        predictor,
        image,
        target="false-positive:0@0.45",
        reference=reference,
        baseline="blur",
    )
    rows = [("W-Net, CHASE_DB1 01L", "Dice against the first observer", f"{dice(found, mask):.3f}")]
    rows += [
        ("", f"{n}: weight within 3 px of a predicted vessel", f"{share_near(h, found, 3):.2f}")
        for n, h in heats
    ]
    return drawn(image, [*heats, ("false positives: integrated-gradients", wrong)], found), rows


def hippodeep(data: Path) -> tuple[Pixels, list[Row]]:
    """hippodeep on a T1 in MNI space: the left half of its box."""
    network = HippoNet()
    network.load_state_dict(torch.load(data / "weights/hippodeep.pt", weights_only=True))
    predictor = TorchPredictor(network.eval(), classes=["hippocampus"], output="sigmoid")
    brain = next((data / "ms_lesions_3d/patient07").glob("T1*.nii.gz"))
    whole = cf.read_image(brain).values[0].transpose(2, 1, 0)  # x (to the left), y, z
    box = whole[36 : 36 + 107, 67 : 67 + 72, 27 : 27 + 68]
    crop = np.ascontiguousarray(((box - box.mean()) / box.std())[6:54, :, 2:-2])
    image = Image(crop[None], Grid(crop.shape), window=(-2.0, 2.0))
    with torch.no_grad():
        found = network(torch.from_numpy(crop)[None, None])[0, 0].numpy() > 0
    place = np.pad(found, 2)
    methods = {
        "integrated-gradients": {"baseline": "blur"},
        "input-x-gradient": {"baseline": "blur"},
        "gradcam": {"layer": "convlx5"},
    }
    heats = maps_of(predictor, image, "region:0", methods)
    rows = [("hippodeep, T1", "volume found, mm3", f"{found.sum()}")]
    rows += [
        ("", f"{n}: weight within 4 mm of the hippocampus", f"{share_near(h, place, 4):.2f}") for n, h in heats
    ]
    return drawn(image, heats, place), rows


def brain(data: Path) -> tuple[Pixels, list[Row]]:
    """The 3D U-Net of TorchIO's tutorial, brain against background, at 2 mm."""
    from unet import UNet

    network = UNet(
        in_channels=1, out_classes=2, dimensions=3, num_encoding_blocks=3, out_channels_first_layer=8,
        normalization="batch", upsampling_type="linear", padding=True, activation="PReLU",
    )  # fmt: skip
    import numpy._core.multiarray as arrays

    allowed: list[Any] = [
        (arrays._reconstruct, "numpy.core.multiarray._reconstruct"),
        (arrays.scalar, "numpy.core.multiarray.scalar"),
        np.ndarray, np.dtype, np.dtypes.Float64DType,
    ]  # fmt: skip
    with torch.serialization.safe_globals(allowed):  # its losses are NumPy arrays
        saved = torch.load(
            data / "weights/torchio_unet3d_whole_images_epoch_5.pth", weights_only=True, map_location="cpu"
        )
    network.load_state_dict(saved["weights"])
    predictor = TorchPredictor(network.eval(), classes=["background", "brain"])
    file = next((data / "ms_lesions_3d/patient07").glob("T1*.nii.gz"))
    whole = torch.from_numpy(np.ascontiguousarray(cf.read_image(file).values[0].transpose(2, 1, 0)))
    small = F.interpolate(whole[None, None], scale_factor=0.5, mode="trilinear")[0, 0, :88, :104, :88]
    inside = small > small.mean()
    values = ((small - small[inside].mean()) / small[inside].std()).numpy()
    image = Image(values[None], Grid(values.shape, spacing_mm=(2, 2, 2)), window=(-3.0, 2.0))
    with torch.no_grad():
        found = network(torch.from_numpy(values)[None, None]).argmax(dim=1)[0].numpy() == 1
    methods: dict[str, dict[str, Any]] = {
        "integrated-gradients": {"baseline": "blur"},
        "input-x-gradient": {},
        "lrp": {},
    }
    heats = maps_of(predictor, image, "boundary:1", methods)
    rows = [
        (
            "3D U-Net, T1 without skull",
            "Dice against the voxels that hold tissue",
            f"{dice(found, (small > 20).numpy()):.3f}",
        )
    ]
    rows += [
        ("", f"{n}: weight within 6 mm of the brain it found", f"{share_near(h, found, 6):.2f}")
        for n, h in heats
    ]
    return drawn(image, heats, found, quarters=1), rows


def hippocampus(data: Path, model: Path) -> tuple[Pixels, list[Row]]:
    """The U-Net trained here on the decathlon's hippocampi: head against body of one held-out patient."""
    predictor = load_predictor(model, trust_code=True)  # its factory is experiments/train/hippocampus.py
    case = sorted((data / "msd_task04_hippocampus/imagesTr").glob("*.nii.gz"))[0]
    image = cf.read_image(case)
    labels = cf.read_image(data / "msd_task04_hippocampus/labelsTr" / case.name).values[0]
    assert isinstance(predictor, TorchPredictor)
    with torch.no_grad():
        found = predictor(image.values[None]).argmax(dim=1)[0].numpy()
    methods = {
        "integrated-gradients": {"baseline": "blur"},
        "occlusion": {"box": 6, "stride": 3, "fill": "mean"},
        "gradcam": {},
    }
    heats = maps_of(predictor, image, "region:anterior", methods)
    figures = json.loads((model.parent / "figures.json").read_text())
    rows = [
        (
            "U-Net trained here, hippocampus",
            f"Dice of {name}, {figures['held out']} patients held out",
            f"{value}",
        )
        for name, value in figures["dice"].items()
    ]
    rows.append((case.name, "Dice of the anterior part, this patient", f"{dice(found == 1, labels == 1):.3f}"))
    place = found == 1
    rows += [
        ("", f"{n}: weight within 3 mm of the anterior part", f"{share_near(h, place, 3):.2f}")
        for n, h in heats
    ]
    return drawn(image, heats, place), rows


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("data", type=Path)
    words.add_argument("--out", type=Path, default=Path("docs/pictures"))
    words.add_argument("--page", type=Path, default=Path("docs/results/segmenters.md"))
    words.add_argument("--hippocampus", type=Path, default=Path("runs/hippocampus/hippocampus.json"))
    asked = words.parse_args()
    jobs: dict[str, Callable[[], tuple[Pixels, list[Row]]]] = {
        "vessels": lambda: vessels(asked.data),
        "hippodeep": lambda: hippodeep(asked.data),
        "brain": lambda: brain(asked.data),
        "hippocampus": lambda: hippocampus(asked.data, asked.hippocampus),
    }
    command = "python -m experiments.evaluate.segmenters ../shared/data"
    lines = ["# Segmenters, explained", "", f"Made by `{command}`.", ""]
    for name, job in jobs.items():
        pixels, rows = job()
        write_atomic(asked.out / f"{name}.png", png(pixels))
        lines += [f"![{name}](../pictures/{name}.png)", "", table(["", "measured", ""], rows)]
        print(name, rows, flush=True)
    asked.page.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
