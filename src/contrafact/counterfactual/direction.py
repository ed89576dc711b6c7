"""The direction in latent space along which a model's score changes.

Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2: logistic regression of the black box's
decisions for G(w) on w (`published=True`). Differs (the default): ridge regression of the score
itself, and the step that changes it by one unit with the least Mahalanobis length,
S a / (a' S a), S the covariance of w; other scores can be held still; the unit is calibrated on
held-out latents, so one unit of the slider is one unit of the target (a logit, for a class). With
real images at hand (`Anchors`) the step is fitted where it will be taken: on what the score does when
those images are changed, not on what it says of pictures that the generator drew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contrafact.core import Generator, InputError, Target
from contrafact.counterfactual.inversion import carry_over
from contrafact.counterfactual.latent_statistics import LatentStatistics

Scorer = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionConfig:
    """How a direction is fitted.

    samples    latents drawn; a fifth of them is held out
    anchors    real images used, at most; a fifth of them is held out
    draws      changed real images on which a score's effect is measured
    reach      standard deviations of w, per axis, of those changes
    published  the paper's logistic regression on hard decisions, unit length, Euclidean step
    bootstrap  resamplings for the interval of R2
    """

    samples: int = 10_000
    anchors: int = 10_000
    draws: int = 1_500
    reach: float = 0.5
    published: bool = False
    bootstrap: int = 200
    batch: int = 250
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Anchors:
    """Real images, and where the encoder puts them.

    images     (N, C, R, R) in [-1, 1], where the generator is; in random order, the last fifth is
               held out
    latents    (N, d), there too
    gradients  the scores can be differentiated: one backward pass tells what many draws would
    """

    images: Tensor
    latents: Tensor
    gradients: bool = False

    def __len__(self) -> int:
        return len(self.images)

    def part(self, rows: Tensor | slice) -> Anchors:
        """Some of them."""
        return Anchors(images=self.images[rows], latents=self.latents[rows], gradients=self.gradients)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Direction:
    """What a unit of score looks like in latent space.

    alpha, intercept   the surrogate f~(w) = alpha . w + intercept, in units of the target
    step       (d,) change of w that asks for one unit
    held       (k, d) how each score that is held still changes with w
    deviation  how many units one standard deviation of synthetic images is, along the step
    target, model      what was fitted, by the text of the target and the model's digest
    fit        R2 (with interval), slope, AUC on held-out latents, and under "real" on held-out real
               images; condition of the constraints; "agreement": cosine of the effects found on two
               halves of the real images
    """

    alpha: Tensor
    intercept: float
    step: Tensor
    deviation: float
    target: str
    model: str
    fit: dict[str, Any]
    held: Tensor

    def surrogate(self, w: Tensor) -> Tensor:
        """f~: the score (N,) that the linear model expects of latents (N, d)."""
        return w @ self.alpha + self.intercept

    def holding(self, others: Sequence[Direction], statistics: LatentStatistics) -> Direction:
        """The shortest step of the same effect that leaves the scores of other directions as they are.

        raises  InputError where they ask for the same change
        """
        own = _effect(self, statistics)[None]
        held = torch.stack([d.alpha.to(own) if len(d.held) else _effect(d, statistics) for d in others])
        still = torch.cat([self.held.to(own), held])
        step, condition = least_step(torch.cat([own, still]).t(), statistics.covariance)
        return replace(
            self,
            step=step,
            held=still,
            deviation=float(1 / statistics.length(step).clamp_min(1e-12)),
            fit={**self.fit, "condition": condition},
        )


def fit_direction(
    generator: Generator,
    score: Scorer,
    *,
    target: Target,
    model: str = "",
    hold: Sequence[Scorer] = (),
    anchors: Anchors | None = None,
    config: DirectionConfig | None = None,
) -> Direction:
    """Fit the direction of one score.

    score    images (N, C, H, W) in [-1, 1] to scores (N,): the black box with its target; needs no
             gradient
    hold     other scores that a step must not change (confounders), to first order
    anchors  real training images: f~ learns from them too, and the step is what changes the score of
             *them*; None, or the published form: synthetic images alone
    cost     `samples` passes of the generator and of every model, 4 x 500 for the calibration; with
             anchors `draws` passes with gradients, or 10 x `draws` without
    raises   InputError when the score never changes, or, for the published form, when the model
             decides the same for every synthetic image
    """
    config = config or DirectionConfig()
    rng = torch.Generator().manual_seed(config.seed)
    scorers = [score, *hold]
    w, scores = _sample(generator, scorers, config, rng)
    if float(scores[:, 0].std()) < 1e-6:
        raise InputError(
            f"the model gives every synthetic image the same score for {target}; "
            "expected a score that changes: is the generator trained, is the target right?"
        )
    cut = len(w) * 4 // 5
    statistics = LatentStatistics(w[:cut].mean(dim=0), torch.cov(w[:cut].t()))
    known, held = (w[:cut], scores[:cut]), (w[cut:], scores[cut:])
    if config.published:
        alpha, intercept = _logistic(known[0], known[1][:, 0])
        step, about = alpha / alpha.square().sum(), {"condition": 1.0}
        still = alpha.new_zeros(0, len(alpha))
    elif anchors is None:
        alpha, intercept, step, still, about = _on_drawn(generator, scorers, known, held, statistics)
    else:
        alpha, intercept, step, still, about = _on_real(
            generator, scorers, known, anchors, statistics, config, rng
        )
    fit = _quality(held[0] @ alpha + intercept, held[1][:, 0], config)
    return Direction(
        alpha=alpha,
        intercept=float(intercept),
        step=step,
        deviation=float(1 / statistics.length(step).clamp_min(1e-12)),
        target=str(target),
        model=model,
        fit={**fit, **about, "config": asdict(config)},
        held=still,
    )


def _effect(direction: Direction, statistics: LatentStatistics) -> Tensor:
    """(d,) how the score changes with w, read from the step that is shortest for it."""
    step = direction.step.to(statistics.covariance)
    common = statistics.precision.to(step) @ step
    return common / (common @ step)


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


def _on_drawn(
    generator: Generator,
    scorers: list[Scorer],
    known: tuple[Tensor, Tensor],
    held: tuple[Tensor, Tensor],
    statistics: LatentStatistics,
) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
    """f~, and the step that changes it, on synthetic images."""
    w, scores = known
    alpha, intercept = _ridge(w, scores[:, 0])
    probes = torch.stack([alpha, *(_ridge(w, s)[0] for s in scores.t()[1:])], dim=1)
    step, condition = least_step(probes, statistics.covariance)
    latents = held[0][:500].to(generator.sample(1, torch.Generator()).device)
    with torch.no_grad():
        some = Anchors(images=generator.decode(latents), latents=latents)
    step, slope = _calibrated(generator, scorers[0], some, step)
    about = {"condition": condition, "calibration": slope}
    return alpha, intercept, step, probes[:, 1:].t(), about


def _on_real(
    generator: Generator,
    scorers: list[Scorer],
    known: tuple[Tensor, Tensor],
    anchors: Anchors,
    statistics: LatentStatistics,
    config: DirectionConfig,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
    """f~ on synthetic and real images; the step that changes the real ones."""
    real = anchors.part(slice(config.anchors))
    end = len(real) * 4 // 5
    scores = _scores(scorers[:1], real.images, config)[:, 0]
    latents = real.latents.cpu()
    w, values = torch.cat([latents[:end], known[0]]), torch.cat([scores[:end], known[1][:, 0]])
    weights = torch.ones(len(w))
    weights[:end] = 3 * len(known[0]) / end  # three quarters of the say belong to the real images
    alpha, intercept = _ridge(w, values, weights)
    quality = _quality(latents[end:] @ alpha + intercept, scores[end:], config)
    effects, agreement = _effects(generator, scorers, real.part(slice(end)), statistics, config, rng)
    short, condition = least_step(effects, torch.eye(len(effects)))
    some = real.part(slice(end, end + 500))
    step, slope = _calibrated(generator, scorers[0], some, statistics.factor @ short)
    about = {"condition": condition, "calibration": slope, "agreement": agreement, "real": quality}
    still = (statistics.precision @ statistics.factor @ effects[:, 1:]).t()
    return alpha, intercept, step, still, about


def _sample(
    generator: Generator, scorers: list[Scorer], config: DirectionConfig, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    ws, scores = [], []
    for start in range(0, config.samples, config.batch):
        with torch.no_grad():
            w = generator.sample(min(config.batch, config.samples - start), rng)
            scores.append(_scores(scorers, generator.decode(w), config))
        ws.append(w.cpu())
    return torch.cat(ws), torch.cat(scores)


def _scores(scorers: Sequence[Scorer], images: Tensor, config: DirectionConfig) -> Tensor:
    """(N, scorers), on the CPU."""
    with torch.no_grad():
        parts = [
            torch.stack([s(part).reshape(len(part)).cpu() for s in scorers], dim=1)
            for part in images.split(config.batch)
        ]
    return torch.cat(parts)


def _effects(
    generator: Generator,
    scorers: list[Scorer],
    real: Anchors,
    statistics: LatentStatistics,
    config: DirectionConfig,
    rng: torch.Generator,
) -> tuple[Tensor, float]:
    """How much each score of a real image changes per standard deviation of w: (d, scorers), and how
    well two halves of the images agree on the first.

    With z ~ N(0, reach^2 I) and frame(z) = x + G(w + Fz) - G(w), F F' = S, this is E[gradient of
    score(frame(z)) by z]; by Stein's identity also the regression of score(frame(z)) on z, for models
    without gradients: there by pairs z and -z, whose difference has no even part.
    """
    device = real.latents.device
    factor = statistics.factor.to(device)
    rounds = config.draws if real.gradients else 5 * config.draws
    rows = torch.arange(rounds) % len(real)
    found, draws = [], []
    for part in rows.split(64):
        images, w = real.images[part.to(device)], real.latents[part.to(device)]
        z = config.reach * torch.randn(len(part), w.shape[1], generator=rng).to(device)
        with torch.no_grad():
            drawn = generator.decode(w)
        if real.gradients:
            z.requires_grad_(True)
            with torch.enable_grad():
                frames = carry_over(images, generator.decode(w + z @ factor.t()) - drawn)
                slopes = [torch.autograd.grad(s(frames).sum(), z, retain_graph=True)[0] for s in scorers]
            found.append(torch.stack([slope.detach().cpu() for slope in slopes], dim=2))
            continue
        with torch.no_grad():
            ends = [carry_over(images, generator.decode(w + sign * z @ factor.t()) - drawn) for sign in (1, -1)]
            found.append((_scores(scorers, ends[0], config) - _scores(scorers, ends[1], config)) / 2)
        draws.append(z.cpu())
    every, half = torch.cat(found), rounds // 2

    def effect(at: slice) -> Tensor:
        if real.gradients:
            return every[at].mean(dim=0)
        z = torch.cat(draws)[at]
        return torch.stack([_slopes(z, values) for values in every[at].t()], dim=1)

    halves = [effect(slice(half))[:, 0], effect(slice(half, None))[:, 0]]
    return effect(slice(None)), float(torch.nn.functional.cosine_similarity(halves[0], halves[1], dim=0))


def _slopes(z: Tensor, values: Tensor) -> Tensor:
    """Ridge without intercept."""
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(alphas=np.logspace(-1, 6, 15), fit_intercept=False)
    model.fit(z.double().numpy(), values.double().numpy())
    return torch.from_numpy(np.asarray(model.coef_)).float()


def _ridge(w: Tensor, values: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Ridge with the penalty chosen by generalised cross-validation, on whitened latents."""
    from sklearn.linear_model import RidgeCV

    mean, deviation = w.mean(dim=0), w.std(dim=0).clamp_min(1e-8)
    model = RidgeCV(alphas=np.logspace(-2, 5, 15))
    model.fit(
        ((w - mean) / deviation).double().numpy(),
        values.double().numpy(),
        sample_weight=None if weights is None else weights.double().numpy(),
    )
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


def _calibrated(generator: Generator, score: Scorer, some: Anchors, step: Tensor) -> tuple[Tensor, float]:
    """The step for one unit as measured on `some` images, and the units the step made before."""
    step = step.to(some.latents.device)
    slopes = []
    with torch.no_grad():
        for images, w in zip(some.images.split(250), some.latents.split(250), strict=True):
            drawn = generator.decode(w)
            before = score(images)
            deviation = float(before.std().clamp_min(1e-6)) if len(before) > 1 else 1.0
            for size in (-deviation, -deviation / 2, deviation / 2, deviation):
                after = score(carry_over(images, generator.decode(w + size * step) - drawn))
                slopes.append(((after - before) / size).cpu())
    slope = float(torch.cat(slopes).mean())
    return (step / slope if slope > 0.05 else step).cpu(), slope
