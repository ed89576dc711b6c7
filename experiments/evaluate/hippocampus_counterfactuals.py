"""Ask what would have to change for a hippocampus to be segmented a fifth smaller, or a fifth larger.

    python -m experiments.evaluate.hippocampus_counterfactuals --data ../shared/data --work RUNS/hippocampus \
        --page FILE --picture FILE

MRI of the hippocampus (Medical Segmentation Decathlon, task 4), each volume resized to 32 x 32 x 32 and its
greys to 0 to 255. Every fifth patient is held out. A U-Net and a SegResNet learn the reader's mask; a
translator learns to change a volume until the U-Net's soft volume is the one that is asked for. What came of it
is measured on the patients held out by the SegResNet, which took part in nothing, and by the reader's mask.
Finished networks are kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.ndimage import binary_dilation, binary_erosion
from torch import Tensor, nn

import contrafact as cf
from contrafact.core import Counterfactual, Image
from contrafact.counterfactual import Bundle, Translation
from contrafact.generators.translator import Translator, TranslatorConfig
from contrafact.generators.translator_settings import TranslatorTrainerConfig
from contrafact.generators.translator_training import TranslatorTraining
from contrafact.io import read_image
from contrafact.models import resize
from contrafact.render.difference import half_share
from experiments.evaluate.known_truth import judged
from experiments.evaluate.picture_sheet import sheet
from experiments.tables import mean, ratio, share, table

SIDE = 32
GOALS = {"a fifth smaller": 0.8, "a fifth larger": 1.2}  # of the soft volume
MAPS: dict[str, dict[str, Any]] = {"gradcam": {}, "kernel-shap": {"samples": 100}}
Values = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


class Segmenter(nn.Module):
    """A network of MONAI on volumes (N, 1, 32, 32, 32) of 0 to 255: background and hippocampus."""

    def __init__(self, role: str) -> None:
        super().__init__()
        from monai.networks.nets import SegResNet, UNet

        if role == "model":
            self.network: nn.Module = UNet(3, 1, 2, channels=(12, 24, 48), strides=(2, 2), num_res_units=1)
        else:
            self.network = SegResNet(3, init_filters=8, in_channels=1, out_channels=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.network(x / 127.5 - 1))


def volumes(folder: Path) -> tuple[Tensor, Tensor]:
    """Volumes (N, 1, 32, 32, 32) of 0 to 255, and masks of the whole hippocampus, bool."""
    images, masks = list[Tensor](), list[Tensor]()
    for path in sorted((folder / "imagesTr").glob("*.nii.gz")):
        values = torch.from_numpy(read_image(path).values)[None]
        low, high = np.percentile(values.numpy(), [0.5, 99.5])
        labels = torch.from_numpy(read_image(folder / "labelsTr" / path.name).values > 0)[None].float()
        grey, mask = (resize(one.float(), (SIDE,) * 3) for one in (values, labels))
        images.append(((grey - low) / (high - low) * 255).clamp(0, 255))
        masks.append(mask > 0.5)
    return torch.cat(images), torch.cat(masks)


def segmenter(role: str, images: Tensor, masks: Tensor, work: Path, steps: int = 400) -> Segmenter:
    """A trained segmenter, from the folder where it is finished."""
    from monai.losses.dice import DiceCELoss

    path = work / f"{role}.safetensors"
    torch.manual_seed({"model": 0, "second": 1}[role])
    made, loss_of = Segmenter(role), DiceCELoss(to_onehot_y=True, softmax=True, include_background=False)
    if path.exists():
        made.load_state_dict(load_file(path))
        return made.eval()
    adam = torch.optim.AdamW(made.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, total_steps=steps)
    rng = torch.Generator().manual_seed(2)
    for step in range(steps):
        rows = torch.randint(len(images), (4,), generator=rng)
        x, y = images[rows], masks[rows]
        if float(torch.rand((), generator=rng)) < 0.5:
            x, y = x.flip(-1), y.flip(-1)
        x = x * float(0.8 + 0.4 * torch.rand((), generator=rng)) + 6 * torch.randn(x.shape, generator=rng)
        loss = loss_of(made(x), y.float())
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if step % 100 == 99:
            print(f"{role}: step {step + 1}, loss {float(loss.detach()):.3f}", flush=True)
    save_file({k: v.contiguous() for k, v in made.state_dict().items()}, path)
    return made.eval()


def translator(model: Segmenter, images: Tensor, work: Path, kimg: float) -> Translator:
    """A translator by the U-Net's soft volume; a run that was ended goes on."""
    size = TranslatorConfig(resolution=SIDE, channels=1, axes=3, widths=(16, 32, 64))
    config = TranslatorTrainerConfig(kimg=kimg, batch=8, features="none")
    model.requires_grad_(False)

    def soft_volume(x: Tensor) -> Tensor:
        return model((x + 1) * 127.5).softmax(dim=1)[:, 1].flatten(1).sum(dim=1, keepdim=True)

    training = TranslatorTraining(size, config, images / 127.5 - 1, guide=soft_volume)
    path = work / "state.safetensors"
    if path.exists():
        training.restore(load_file(path))
    while training.seen < 1000 * kimg:
        training.step()
        if training.seen % 500 < config.batch or training.seen >= 1000 * kimg:
            save_file(training.state(), path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
            print(training.seen, {k: round(v, 3) for k, v in training.figures.items()}, flush=True)
    return training.average.eval().requires_grad_(False)


@torch.no_grad()
def dice(network: Segmenter, images: Tensor, masks: Tensor) -> str:
    found = network(images).argmax(dim=1, keepdim=True).bool()
    both = (found & masks).flatten(1).sum(dim=1)
    return mean((2 * both / (found.flatten(1).sum(dim=1) + masks.flatten(1).sum(dim=1))).numpy())


def row_of(name: str, strips: list[Counterfactual], truths: list[Mask], networks: list[Segmenter]) -> list[str]:
    """A row of the table: one request of every patient."""
    ends = [torch.from_numpy(np.stack([s.frames[s.origin], s.frames[s.end]])).float() for s in strips]
    changes = [np.abs(s.change).mean(axis=0) for s in strips]
    cells = []
    for network in networks:
        with torch.no_grad():
            areas = np.array([(network(one).argmax(dim=1) == 1).flatten(1).sum(dim=1).tolist() for one in ends])
        cells.append(ratio(areas[:, 1].astype(float), areas[:, 0].astype(float)))
    edges = [binary_dilation(t, iterations=2) & ~binary_erosion(t, iterations=2) for t in truths]
    inside = [float(c[e].sum() / max(c.sum(), 1e-6)) for c, e in zip(changes, edges, strict=True)]
    return [
        name,
        str(len(strips)),
        share([s.outcome in ("reached", "already") for s in strips]),
        *cells,
        mean(inside),
        mean([half_share(one) for one in changes]),
        mean([float(one.mean()) for one in changes]),
    ]


def drawn(values: Values, mask: Mask) -> NDArray[np.uint8]:
    """A slice with the outline of a mask, enlarged."""
    large = np.kron(np.clip(values, 0, 255).astype(np.uint8), np.ones((5, 5), np.uint8))
    wide = np.kron(mask, np.ones((5, 5))).astype(bool)
    colours = np.repeat(large[..., None], 3, axis=2)
    colours[wide & ~binary_erosion(wide)] = (255, 160, 0)
    return colours


def wall(found: dict[str, list[Counterfactual]], networks: list[Segmenter], path: Path, count: int = 6) -> None:
    """The first patients, one a row: for each request the volume before and after with the U-Net's mask, the
    difference, and after with the SegResNet's mask; the slice with most of the structure."""
    rows = []
    for strips in zip(*(strips[:count] for strips in found.values()), strict=True):
        tiles = []
        for strip in strips:
            ends = np.stack([strip.frames[strip.origin], strip.frames[strip.end]])
            with torch.no_grad():
                masks = [n(torch.from_numpy(ends).float()).argmax(dim=1).numpy() == 1 for n in networks]
            at = int(masks[0][0].sum(axis=(1, 2)).argmax())
            none = np.zeros_like(masks[0][0][at])
            tiles += [drawn(end[0][at], mask[at]) for end, mask in zip(ends, masks[0], strict=True)]
            tiles += [
                drawn(127.5 + 2 * (ends[1] - ends[0])[0][at], none),
                drawn(ends[1][0][at], masks[1][1][at]),
            ]
        rows.append(tiles)
    parts = ["before, the U-Net's mask", "after, the U-Net's mask", "difference", "after, the SegResNet's mask"]
    names = [f"{request}: {part}" for request in found for part in parts]
    sheet({"": rows}, names, path, made=[k for k in range(len(names)) if k % len(parts)])


HEAD = [
    "request",
    "patients",
    "goal reached",
    "volume that the U-Net marks, after as a share of before",
    "the same of the SegResNet",
    "change within 2 voxels of the reader's edge",
    "half of the change lies in",
    "mean change, grey levels",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/hippocampus_counterfactuals"))
    parser.add_argument("--kimg", type=float, default=5.0)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    images, masks = volumes(options.data / "msd_task04_hippocampus")
    held = torch.arange(len(images)) % 5 == 0
    networks = [segmenter(role, images[~held], masks[~held], options.work) for role in ("model", "second")]
    made = translator(networks[0], images[~held], options.work, options.kimg)
    predictor = cf.load_predictor(networks[0], classes=["background", "hippocampus"], output="logits")
    known = (Translation(model=predictor.digest, target="volume:1", number=0),)
    bundle = Bundle(name="hippocampus", window=(0.0, 255.0), translator=made, translations=known,
                    engine="translate", predictor=predictor, predictors={"segmenter": predictor})  # fmt: skip
    own = [Image(one.numpy(), window=(0.0, 255.0)) for one in images[held][: options.images]]
    truths = [one[0].numpy() for one in masks[held][: options.images]]
    found: dict[str, list[Counterfactual]] = {}
    for name, factor in GOALS.items():
        found[name] = []
        for image in own:
            target = predictor.target("volume:1").freeze(predictor, image.values[None])
            now = float(target(predictor(image.values[None]))[0])
            ask = {"target": "volume:1", "bundle": bundle, "goal": factor * now}
            found[name].append(cf.explain("translate", predictor, image, **ask))
    text = table(HEAD, [row_of(name, strips, truths, networks) for name, strips in found.items()])
    scores = {"the change, a fifth smaller": [np.abs(s.change).mean(axis=0) for s in found["a fifth smaller"]]}
    for name, settings in MAPS.items():
        maps = [cf.explain(name, predictor, image, target="region:1", **settings) for image in own]
        scores[name] = [np.nan_to_num(np.asarray(one.values)) for one in maps]
    rows = []
    for name, values in scores.items():
        against = np.array([judged(one, truth) for one, truth in zip(values, truths, strict=True)])
        rows.append([name, *(mean(against[:, k]) for k in (2, 1, 0))])
    text += "\n" + table(["map", "IoU with the reader", "relevance mass", "pointing game"], rows)
    words = [
        f"{n} {dice(net, images[held], masks[held])}"
        for n, net in zip(("U-Net", "SegResNet"), networks, strict=True)
    ]
    text += f"\nDice on {int(held.sum())} patients held out: {', '.join(words)}.\n"
    print(text)
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    if options.picture:
        wall(found, networks, options.picture)


if __name__ == "__main__":
    main()
