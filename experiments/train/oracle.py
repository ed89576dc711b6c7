"""Train the classifiers that evaluate counterfactuals: the second model of a bundle, and one for another
question.

    python -m experiments.train.oracle knee ../shared/data/knee_kl_128 --out runs/oracle
    python -m experiments.train.oracle chest ../shared/data/chestxray_pneumonia_224 --out runs/oracle
    python -m experiments.train.oracle brain ../shared/data/brain_tumor_mri_4class_224 --out runs/oracle
    python -m experiments.train.oracle phantom - --out runs/oracle
    python -m experiments.train.oracle chest - --out runs/oracle --ship src/contrafact/bundles/chest

`oracle`: the same question, another seed and architecture (plain convolutions in the manner of VGG, where the
first is a small ResNet), without the first one's predictions. With `--ship` it becomes the bundle's second
model: it confirms counterfactuals, and is used in no training, search or choice. On phantoms it learns the
joint space from images whose side marker carries no information, so it confirms no flip of the model with the
shortcut. `other`: another question, which a change of the finding should not affect: left or right knee;
bacterial or viral pneumonia; the brain slices have no other label. The same training patients; some minutes on
one core. The second model that ships with `knee` is made by `classifiers.py`.
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

from contrafact.io import read_json, write_json
from contrafact.models import Preprocessing, TorchPredictor
from contrafact.models.example_networks import PlainNetwork
from experiments.data import Cohort, train_and_val
from experiments.train import phantom
from experiments.train.classifiers import outputs_of
from experiments.train.latent_classifier import trained, two_classes

ROW = {"knee": 1, "chest": 0, "brain": 0}  # which output is the question of the bundle
EPOCHS = {"knee": 20, "chest": 12, "brain": 15}
OTHER = {"knee": "left or right", "chest": "bacterial or viral"}


def plain(outputs: int) -> nn.Module:
    """The judge's architecture."""
    return PlainNetwork(outputs=outputs)


def load_judge(folder: Path, name: str) -> TorchPredictor:
    """A trained one, with two classes, for images of 0 to 255."""
    network = PlainNetwork()
    network.load_state_dict(load_file(folder / f"{name}.safetensors"))
    how = Preprocessing(size=(64, 64), channels=1, window=(0.0, 255.0), mean=(0.5,), std=(0.5,))
    return TorchPredictor(network.eval(), classes=["no", "yes"], preprocessing=how)


def asked_otherwise(cohort: Cohort, name: str) -> Cohort:
    """The same images with the other question's labels; those it cannot be asked of are left out."""
    stems = [Path(file).stem for file in cohort.names]
    rows = [i for i, stem in enumerate(stems) if name == "knee" or "bacteria" in stem or "virus" in stem]
    labels = np.array([int(stems[i][-1] == "R" if name == "knee" else "virus" in stems[i]) for i in rows])
    return dataclasses.replace(cohort.rows(rows), labels=labels, levels=labels)


def make(fit: Cohort, held: Cohort, *, file: Path, name: str, row: int, epochs: int, mirror: bool) -> None:
    network = trained(fit, epochs=epochs, seed=17, name=name, mirror=mirror, make=plain)
    outputs = outputs_of(network, held.images)
    print(f"{file.stem}: AUC {roc_auc_score(held.labels, outputs[:, row].numpy()):.4f}", flush=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    keep(file, two_classes(network, row))


def keep(file: Path, state: dict[str, Tensor]) -> None:
    save_file({k: v.contiguous() for k, v in state.items()}, file)


def make_phantom(file: Path) -> None:
    """The judge of the phantoms, from other phantoms than the first model's."""
    images, factors = phantom.draw(4000, 5)
    held, held_factors = phantom.draw(1000, 6)
    network = phantom.train(images, phantom.share_of_readers(factors, cheat=False), make=plain, seed=17)
    with torch.no_grad():
        scores = network(held / 127.5 - 1).diff(dim=1)[:, 0].numpy()
    labels = np.array([f.joint_space < 3.0 for f in held_factors])
    print(f"phantom: AUC {roc_auc_score(labels, scores):.4f}", flush=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    keep(file, network.state_dict())


EXPLAINED = {"chest": ["classifier"], "brain": ["classifier"], "phantom": ["honest", "cheat"]}


def ship(name: str, folder: Path, out: Path) -> None:
    """Put the second model into a bundle's folder: half-precision weights, a description as that of the first
    model, and its name in bundle.json."""
    about = read_json(folder / "bundle.json")
    state = load_file(out / f"{name}.safetensors")
    small = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_file({k: v.contiguous() for k, v in small.items()}, folder / "second.safetensors")
    second = {
        **read_json(folder / about["predictors"][EXPLAINED[name][0]]),
        "factory": "contrafact.models.example_networks:PlainNetwork",
        "arguments": {"outputs": len(state["head.bias"])},
        "weights": "second.safetensors",
    }
    write_json(folder / "second.json", second)
    about["seconds"] = dict.fromkeys(EXPLAINED[name], "second.json")
    write_json(folder / "bundle.json", about)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*ROW, "phantom"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=["oracle", "other"])
    parser.add_argument("--ship", type=Path, help="folder of a bundle that the trained judge is put into")
    options = parser.parse_args()
    name = options.name
    if options.ship and name not in EXPLAINED:
        parser.error(f"the second model of {name} is made by experiments.train.classifiers")
    if options.ship:
        ship(name, options.ship, options.out)
        return
    if name == "phantom":
        make_phantom(options.out / "phantom.safetensors")
        return
    fit, held = train_and_val(name, options.data)
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
