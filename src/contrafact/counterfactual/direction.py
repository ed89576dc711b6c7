"""The direction in latent space along which a model's score changes.

Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2: logistic regression of the black box's
decisions for G(w) on w (`published=True`). Differs (the default): ridge regression of the score
itself, and the step that changes it by one unit with the least Mahalanobis length,
S a / (a' S a), S the covariance of w; other scores can be held still; the unit is calibrated on
held-out latents, so one unit of the slider is one unit of the target (a logit, for a class).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contrafact.core import Generator, InputError, Target
from contrafact.counterfactual.latents import LatentStatistics

Scorer = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionConfig:
    """How a direction is fitted.

    samples    latents drawn; a fifth of them is held out
    published  the paper's logistic regression on hard decisions, unit length, Euclidean step
    bootstrap  resamplings for the interval of R2
    """

    samples: int = 10_000
    published: bool = False
    bootstrap: int = 200
    batch: int = 250
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Direction:
    """What a unit of score looks like in latent space.

    alpha, intercept   the surrogate f~(w) = alpha . w + intercept, in units of the target
    step       (d,) change of w that asks for one unit
    deviation  how many units one standard deviation of synthetic images is, along the step
    target, model      what was fitted, by the text of the target and the model's digest
    fit        R2 (with interval), slope, AUC on held-out latents; condition of the constraints
    """

    alpha: Tensor
    intercept: float
    step: Tensor
    deviation: float
    target: str
    model: str
    fit: dict[str, Any]

    def surrogate(self, w: Tensor) -> Tensor:
        """f~: the score (N,) that the linear model expects of latents (N, d)."""
        return w @ self.alpha + self.intercept


def fit_direction(
    generator: Generator,
    score: Scorer,
    *,
    target: Target,
    model: str = "",
    hold: Sequence[Scorer] = (),
    config: DirectionConfig | None = None,
) -> Direction:
    """Fit the direction of one score.

    score   images (N, C, H, W) in [-1, 1] to scores (N,): the black box with its target; needs no
            gradient
    hold    other scores that a step must not change (confounders), to first order
    cost    `samples` passes of the generator and of every model, and 4 x 500 for the calibration
    raises  InputError when the score never changes, or, for the published form, when the model
            decides the same for every synthetic image
    """
    config = config or DirectionConfig()
    rng = torch.Generator().manual_seed(config.seed)
    w, scores = _sample(generator, [score, *hold], config, rng)
    values = scores[:, 0]
    if float(values.std()) < 1e-6:
        raise InputError(
            f"the model gives every synthetic image the same score for {target}; "
            "expected a score that changes: is the generator trained, is the target right?"
        )
    cut = len(w) * 4 // 5
    statistics = LatentStatistics(w[:cut].mean(dim=0), torch.cov(w[:cut].t()))
    if config.published:
        alpha, intercept = _logistic(w[:cut], values[:cut])
        step, condition = alpha / alpha.square().sum(), 1.0
    else:
        alpha, intercept = _ridge(w[:cut], values[:cut])
        probes = torch.stack([alpha, *(_ridge(w[:cut], s[:cut])[0] for s in scores.t()[1:])], dim=1)
        step, condition = least_step(probes, statistics.covariance)
    expected = w[cut:] @ alpha + intercept
    fit = _quality(expected, values[cut:], config)
    if not config.published:
        slope = _measured_slope(generator, score, w[cut : cut + 500], step, float(values.std()))
        if slope > 0.05:
            step = step / slope
        fit["calibration"] = slope
    fit["condition"] = condition
    return Direction(
        alpha=alpha,
        intercept=float(intercept),
        step=step,
        deviation=float(1 / statistics.length(step).clamp_min(1e-12)),
        target=str(target),
        model=model,
        fit={**fit, "config": asdict(config)},
    )


def least_step(probes: Tensor, covariance: Tensor) -> tuple[Tensor, float]:
    """The shortest step (Mahalanobis) that moves the first probe by 1 and the others by 0.

    probes (d, k), covariance (d, d): S A (A' S A)^-1 e_1. Also gives the condition number of
    A' S A with its diagonal scaled to 1: large means that the question contradicts itself.
    """
    spread = covariance.double() @ probes.double()
    gram = probes.double().t() @ spread
    scale = gram.diagonal().sqrt().clamp_min(1e-12)
    condition = float(torch.linalg.cond(gram / scale[:, None] / scale[None, :]))
    if condition > 1e8:
        raise InputError("the target and what is to be held still are the same direction: hold fewer scores")
    wanted = torch.zeros(len(gram), dtype=torch.float64)
    wanted[0] = 1.0
    return (spread @ torch.linalg.solve(gram, wanted.to(gram.device))).float(), condition


def _sample(
    generator: Generator, scorers: list[Scorer], config: DirectionConfig, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    ws, scores = [], []
    for start in range(0, config.samples, config.batch):
        with torch.no_grad():
            w = generator.sample(min(config.batch, config.samples - start), rng)
            images = generator.decode(w)
            scores.append(torch.stack([s(images).reshape(len(w)).cpu() for s in scorers], dim=1))
        ws.append(w.cpu())
    return torch.cat(ws), torch.cat(scores)


def _ridge(w: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Ridge with the penalty chosen by generalised cross-validation, on whitened latents."""
    from sklearn.linear_model import RidgeCV

    mean, deviation = w.mean(dim=0), w.std(dim=0).clamp_min(1e-8)
    model = RidgeCV(alphas=np.logspace(-2, 5, 15))
    model.fit(((w - mean) / deviation).double().numpy(), values.double().numpy())
    alpha = torch.from_numpy(np.asarray(model.coef_)).float() / deviation
    return alpha, torch.tensor(float(model.intercept_)) - alpha @ mean


def _logistic(w: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    from sklearn.linear_model import LogisticRegression

    decisions = (values > 0).numpy()
    if decisions.all() or not decisions.any():
        raise InputError("the model decides the same for every synthetic image; expected both classes")
    model = LogisticRegression(max_iter=2000).fit(w.double().numpy(), decisions)
    return torch.from_numpy(model.coef_[0]).float(), torch.tensor(float(model.intercept_[0]))


def _quality(expected: Tensor, measured: Tensor, config: DirectionConfig) -> dict[str, Any]:
    from sklearn.metrics import r2_score, roc_auc_score

    a, b = expected.numpy(), measured.numpy()
    rng = np.random.default_rng(config.seed)
    draws = [rng.integers(len(a), size=len(a)) for _ in range(config.bootstrap)]
    spread = [r2_score(b[rows], a[rows]) for rows in draws]
    decisions = b > 0
    return {
        "r2": float(r2_score(b, a)),
        "r2_interval": [float(v) for v in np.percentile(spread, [2.5, 97.5])],
        "slope": float(np.polyfit(a, b, 1)[0]),
        "auc": float(roc_auc_score(decisions, a)) if 0 < decisions.mean() < 1 else None,
        "held_out": len(a),
    }


def _measured_slope(generator: Generator, score: Scorer, w: Tensor, step: Tensor, deviation: float) -> float:
    """Units measured for a unit asked, mean over latents and steps of up to one deviation."""
    slopes = []
    device = generator.sample(1, torch.Generator()).device
    w, step = w.to(device), step.to(device)
    with torch.no_grad():
        for size in (-deviation, -deviation / 2, deviation / 2, deviation):
            for part in w.split(250):
                before = score(generator.decode(part))
                after = score(generator.decode(part + size * step))
                slopes.append(((after - before) / size).cpu())
    return float(torch.cat(slopes).mean())
