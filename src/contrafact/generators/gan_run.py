"""What the trainings of a StyleGAN2 and a medXGAN share: saved states, the averaged generator, and the control
of the augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from contrafact.generators.augmentation import next_probability
from contrafact.generators.checkpoint import check_trained_with, pack, same_run, unpack
from contrafact.generators.precision import Precision


class GANRun(Protocol):
    """A training run of a generator against a discriminator.

    config     its hyper-parameters; `about`: those that a saved state must share (`trained_with`)
    average    the averaged `generator`
    augment_p  probability of the augmentation; `signs`: sum and number of the mean signs of the discriminator's
               logits of real images since it was last adapted
    gamma      weight of R1
    """

    config: Any
    about: Tensor
    precision: Precision
    generator: Any
    average: Any
    rng: torch.Generator
    steps: int
    seen: int
    augment_p: float
    signs: list[float]
    gamma: float
    figures: dict[str, float]

    def modules(self) -> Mapping[str, nn.Module]: ...
    def adams(self) -> Mapping[str, torch.optim.Adam]: ...


def saved(run: GANRun, **others: Tensor) -> dict[str, Tensor]:
    """Return everything that the next step depends on, and `others`, as copied CPU tensors with flat names."""
    counts = [run.steps, run.seen, run.augment_p, *run.signs, run.gamma]
    return pack(
        run.modules(),
        run.adams(),
        rng=run.rng.get_state(),
        about=run.precision.recorded(run.about),
        counts=torch.tensor(counts, dtype=torch.float64),
        **others,
    )


def resume(run: GANRun, state: Mapping[str, Tensor], name: str) -> None:
    """Restore a state of `saved`. Raise InputError for one of another network, other images or settings; `name`
    says what kind of run was expected."""
    with same_run(name):
        unpack(state, run.modules(), run.adams())
        run.rng.set_state(state["rng"])
        counts = state["counts"].tolist()
    check_trained_with(state, run.about)
    run.precision.resume(state)
    run.steps, run.seen = int(counts[0]), int(counts[1])
    run.augment_p, run.signs = counts[2], counts[3:5]
    run.gamma = run.config.gamma or counts[5]


def adapt_augmentation(run: GANRun) -> None:
    """Move the probability of the augmentation towards its target, every fourth step."""
    if run.steps % 4 or not run.signs[1]:
        return
    sign = run.signs[0] / run.signs[1]
    run.figures["real_sign"] = sign
    run.augment_p = next_probability(
        run.augment_p, sign, target=run.config.augment_target, images=4 * run.config.batch
    )
    run.signs = [0.0, 0.0]


def vary(run: GANRun, gamma: float, turn: int, *, rank: int = 0) -> None:
    """Set another R1 weight and other random numbers after the rollback number `turn`, so that the training
    does not repeat the same steps; `rank` of the process."""
    run.gamma = gamma
    run.figures.clear()
    run.rng.manual_seed(run.config.seed * 1000 + rank + 1 + turn * 104_729)


def move_average(run: GANRun) -> None:
    """Update the averaged generator, with a half-life of `ema_kimg` thousand images (None: 10 batch / 32),
    shorter at the beginning."""
    batch = run.config.batch
    half_life = 1000 * (run.config.ema_kimg or batch * 10 / 32)
    half_life = max(1.0, min(half_life, 0.05 * run.seen))
    keep = 0.5 ** (batch / half_life)
    with torch.no_grad():
        torch._foreach_lerp_(list(run.average.parameters()), list(run.generator.parameters()), 1 - keep)
        run.average.mapping.w_avg.copy_(run.generator.mapping.w_avg)
