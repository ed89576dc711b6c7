"""The loop that trains the classifiers: what it learns, and that a run which was ended goes on the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from experiments.data import Cohort
from experiments.train import classifiers
from experiments.train.latent_classifier import trained


def bright(count: int = 96, side: int = 8) -> Cohort:
    """Images that are brighter where the label is 1."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    values = rng.integers(60, 120, (count, 1, side, side)) + 100 * labels[:, None, None, None]
    names = [f"{k:03d}" for k in range(count)]
    return Cohort(torch.from_numpy(values).byte(), labels, labels, names, names, ("dark", "bright"))


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 1))


def as_it_is(x: Tensor, rng: torch.Generator) -> Tensor:
    return x + 0.01 * torch.randn(x.shape, generator=rng)


def test_a_run_that_was_ended_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "half_is_faster", lambda _: False)
    ends = []

    def merit(judged: nn.Module, *, at_most: int = 9) -> float:
        ends.append(judged)
        if len(ends) > at_most:
            raise KeyboardInterrupt
        return 0.5

    def run(folder: Path, asked: object) -> None:
        classifiers.train(
            small(),
            bright(),
            vary=as_it_is,
            epochs=3,
            seed=1,
            folder=folder,
            merit=asked,  # type: ignore
        )

    run(tmp_path / "whole", merit)
    ends.clear()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", lambda judged: merit(judged, at_most=1))
    ends.clear()
    run(tmp_path / "parts", merit)
    assert len(ends) == 2, "the first epoch is not trained again"
    whole, parts = (load_file(tmp_path / name / "best.safetensors") for name in ("whole", "parts"))
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key


def test_the_classifier_below_a_latent_space_learns_from_varied_images() -> None:
    cohort = bright(side=16)
    network = trained(cohort, epochs=6, seed=0, name="knee", mirror=True)
    outputs = classifiers.outputs_of(network, cohort.images)
    assert outputs.shape == (96, 1)
    right = (outputs[:, 0].numpy() > outputs.median().item()) == (cohort.labels == 1)
    assert right.mean() > 0.9


def test_a_translator_that_has_seen_its_images_is_not_trained_again(tmp_path):
    from experiments.train.translator import already

    assert already(tmp_path) == 0
    (tmp_path / "history.jsonl").write_text('{"seen": 1008, "merit": 1.0}\n{"seen": 2000, "merit": 3.1}\n')
    assert already(tmp_path) == 2000
