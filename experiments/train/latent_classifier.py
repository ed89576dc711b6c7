"""Train the small classifiers of the bundles, which the bundles explain as black boxes.

    python -m experiments.train.latent_classifier knee DATA/knee_kl_128 --out runs/knee
    python -m experiments.train.latent_classifier chest DATA/chestxray_pneumonia_224 --out runs/chest
    python -m experiments.train.latent_classifier brain DATA/brain_tumor_mri_4class_224 --out runs/brain

The knee network learns the whole grade (cumulative logits, P(grade > k)); the classifier of the
bundle is its logit for grade > 1 with a two-class head, so both share their features.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from contrafact.generators.augmentation import augment, preset
from contrafact.models.example_networks import ResidualNetwork
from experiments.data import Cohort, train_and_val
from experiments.train.classifiers import outputs_of, train

SIZE = {"width": 24, "stages": 4, "blocks": 2, "fine": 1}
AUGMENT = {"knee": "extremity-xray", "chest": "frontal-xray", "brain": "symmetric-slice"}
SMALL = {"width": 16, "stages": 4, "blocks": 1, "fine": 1}  # 800 slices


def residual(outputs: int, size: dict[str, int] = SIZE) -> nn.Module:
    return ResidualNetwork(outputs=outputs, **size, dropout=0.2)


def trained(
    cohort: Cohort,
    *,
    epochs: int,
    seed: int,
    name: str,
    mirror: bool,
    make: Callable[[int], nn.Module] = residual,
) -> nn.Module:
    """A network, trained on images varied as radiographs or slices vary."""
    torch.manual_seed(seed)
    how = preset(AUGMENT[name])

    def vary(x: Tensor, rng: torch.Generator) -> Tensor:
        if mirror:
            flip = torch.rand(len(x), generator=rng) < 0.5
            x = torch.where(flip[:, None, None, None], x.flip(3), x)
        return soften(augment(x, how, 0.6, rng), rng)

    return train(make(cohort.goals.shape[1]), cohort, vary=vary, epochs=epochs, seed=seed, batch=64)


def soften(x: Tensor, rng: torch.Generator) -> Tensor:
    """Each image mixed with its blur (one pixel) and with noise (up to 3 % of the range), each with
    probability one half: a decision should not hang on the finest grain of the film."""
    blur, noise = torch.rand(2, len(x), 1, 1, 1, generator=rng) * 2 - 1
    kernel = torch.tensor([0.0545, 0.2442, 0.4026, 0.2442, 0.0545])
    row = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel.view(1, 1, 1, 5))
    smooth = F.conv2d(row, kernel.view(1, 1, 5, 1))
    x = torch.lerp(x, smooth, blur.clamp_min(0))
    return x + 0.06 * noise.clamp_min(0) * torch.randn(x.shape, generator=rng)


def two_classes(network: nn.Module, row: int) -> dict[str, Tensor]:
    """The same trunk with the two-class head that has the same log-odds as output `row`."""
    state = {k: v.clone() for k, v in network.state_dict().items()}
    state["head.weight"] = torch.stack([-state["head.weight"][row], state["head.weight"][row]]) / 2
    state["head.bias"] = torch.stack([-state["head.bias"][row], state["head.bias"][row]]) / 2
    return state


def save(
    folder: Path,
    name: str,
    state: dict[str, Tensor],
    about: dict[str, object],
    *,
    size: dict[str, int] = SIZE,
    side: int = 64,
) -> None:
    """Half-precision weights beside a description that `load_predictor` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    small = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_file({k: v.contiguous() for k, v in small.items()}, folder / f"{name}.safetensors")
    description = {
        "factory": "contrafact.models.example_networks:ResidualNetwork",
        "arguments": {"outputs": len(state["head.bias"]), **size},
        "weights": f"{name}.safetensors",
        **about,
        "preprocessing": {
            "size": [side, side],
            "channels": 1,
            "window": [0, 255],
            "mean": [0.5],
            "std": [0.5],
        },
    }
    (folder / f"{name}.json").write_text(json.dumps(description, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["knee", "chest", "brain"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=50)
    options = parser.parse_args()
    fit, held = train_and_val(options.name, options.data)
    row = 1 if options.name == "knee" else 0
    size = SMALL if options.name == "brain" else SIZE
    network = trained(
        fit,
        epochs=options.epochs,
        seed=0,
        name=options.name,
        mirror=options.name != "chest",
        make=functools.partial(residual, size=size),
    )
    outputs = outputs_of(network, held.images)
    print(f"AUC {roc_auc_score(held.labels, outputs[:, row].numpy()):.4f}", flush=True)
    about = {"classes": list(fit.classes), "output": "logits"}
    save(options.out, "classifier", two_classes(network, row), about, size=size)
    if options.name == "knee":
        grades = {"classes": [f"KL {k}" for k in range(5)], "output": "ordinal"}
        save(options.out, "grade", network.state_dict(), grades)
        error = (outputs.sigmoid().sum(dim=1) - held.goals.sum(dim=1)).abs().mean()
        print(f"grade: mean absolute error {float(error):.3f}")


if __name__ == "__main__":
    main()
