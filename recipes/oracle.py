"""Train the classifiers that judge counterfactuals of a bundle's own. They never ship.

    python recipes/oracle.py knee ../shared/data/knee_kl_128 --out runs/oracle
    python recipes/oracle.py chest ../shared/data/chestxray_pneumonia_224 --out runs/oracle
    python recipes/oracle.py brain ../shared/data/brain_tumor_mri_4class_224 --out runs/oracle

`oracle`: the same question, another seed and architecture (plain convolutions in the manner of VGG, where the
first is a small ResNet), and no look at the first one's answers. `other`: another question, which a change of
the finding should leave alone: left or right knee; bacterial or viral pneumonia; the brain slices have no
other label. The same training patients; some minutes on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from classifier import outputs_of, train, two_classes
from cohorts import Cohort, load
from contrafact.model import Preprocessing, TorchPredictor

WIDTHS = (16, 32, 64, 128)
ROW = {"knee": 1, "chest": 0, "brain": 0}  # which output is the question of the bundle
EPOCHS = {"knee": 20, "chest": 12, "brain": 15}
OTHER = {"knee": "left or right", "chest": "bacterial or viral"}


class Plain(nn.Module):
    """Pairs of 3 x 3 convolutions, halved by maximum pooling; no skips."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        before = 1
        for width in WIDTHS:
            layers: list[nn.Module] = []
            for wide_in in (before, width):
                layers += [nn.Conv2d(wide_in, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
            before = width
        self.body = nn.Sequential(*stages)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(before, outputs)

    def maps(self, x: Tensor) -> list[Tensor]:
        """What every stage gives, (N, F, H, W)."""
        found = []
        for stage in self.body:
            x = stage(x)
            found.append(x)
        return found

    def features(self, x: Tensor) -> Tensor:
        """(N, F) pooled features before the head."""
        return torch.as_tensor(self.body(x).mean(dim=(2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.dropout(self.features(x))))


def load_judge(folder: Path, name: str) -> TorchPredictor:
    """A trained one, with two classes, for images of 0 to 255."""
    network = Plain(2)
    network.load_state_dict(load_file(folder / f"{name}.safetensors"))
    how = Preprocessing(size=(64, 64), channels=1, window=(0.0, 255.0), mean=(0.5,), std=(0.5,))
    return TorchPredictor(network.eval(), classes=["no", "yes"], preprocessing=how)


def asked_otherwise(cohort: Cohort, name: str) -> Cohort:
    """The same images with the other question's labels; those it cannot be asked of are left out."""
    stems = [p.stem for p in cohort.paths]
    rows = [i for i, stem in enumerate(stems) if name == "knee" or "bacteria" in stem or "virus" in stem]
    labels = np.array([int(stems[i][-1] == "R" if name == "knee" else "virus" in stems[i]) for i in rows])
    return dataclasses.replace(
        cohort,
        images=cohort.images[rows],
        labels=labels,
        goals=torch.from_numpy(labels).float()[:, None],
        patients=[cohort.patients[i] for i in rows],
        paths=[cohort.paths[i] for i in rows],
    )


def make(fit: Cohort, held: Cohort, *, file: Path, name: str, row: int, epochs: int, mirror: bool) -> None:
    network = train(fit, epochs=epochs, seed=17, name=name, mirror=mirror, make=Plain)
    outputs = outputs_of(network, held.images)
    print(f"{file.stem}: AUC {roc_auc_score(held.labels, outputs[:, row].numpy()):.4f}", flush=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in two_classes(network, row).items()}, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(ROW))
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=["oracle", "other"])
    options = parser.parse_args()
    name = options.name
    fit, held = load(name, options.data)
    if options.only != "other":
        make(
            fit,
            held,
            file=options.out / f"{name}.safetensors",
            name=name,
            row=ROW[name],
            epochs=EPOCHS[name],
            mirror=name != "chest",
        )
    if options.only != "oracle" and name in OTHER:
        make(
            asked_otherwise(fit, name),
            asked_otherwise(held, name),
            file=options.out / f"{name}_other.safetensors",
            name=name,
            row=0,
            epochs=6,
            mirror=False,
        )


if __name__ == "__main__":
    main()
