"""The global direction in latent space along which a model's score changes.

Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2: logistic regression of the black box's
decisions for G(w) on w (`published=True`). Differs (the default): ridge regression of the score
itself, and the step that changes it by one unit with the least Mahalanobis length,
S a / (a' S a), S the covariance of w; other scores can be kept constant; the step is calibrated on
held-out latents, so that one unit of it is one unit of the target (a logit, for a class). With real
images (`Anchors`) the step is fitted to the effect of changes to those, not to scores of generated ones.
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
    """Hyper-parameters of fitting a direction.

    samples    number of sampled latents; a fifth of them is held out
    anchors    maximum number of real images; a fifth of them is held out
    draws      number of changed real images on which the effects on the scores are measured
    reach      size of those changes, in standard deviations of w per axis
    published  use the paper's logistic regression on hard decisions, with unit length and Euclidean step
    bootstrap  number of bootstrap samples for the interval of R2
    batch      images that are generated and scored at once
    seed       seed of the samples
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
    """Real images and their encoded latents.

    images     (N, C, R, R) in [-1, 1], on the generator's device, in random order; the last fifth is held out
    latents    (N, d), on the same device
    gradients  whether the scores are differentiable; then one backward pass replaces many samples
    """

    images: Tensor
    latents: Tensor
    gradients: bool = False

    def __len__(self) -> int:
        return len(self.images)

    def part(self, rows: Tensor | slice) -> Anchors:
        """Return the selected rows."""
        return Anchors(images=self.images[rows], latents=self.latents[rows], gradients=self.gradients)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Direction:
    """The global direction of one target: the latent offset that changes its score by one unit.

    alpha, intercept   the linear surrogate f~(w) = alpha . w + intercept, in units of the target
    step       (d,) change of w that requests one unit of score
    held       (k, d) gradient by w of each score that is kept constant
    deviation  change of the score, in units of the target, for a latent distance of 1 SD along the step
    target, model      the fitted target as text, and the model's digest
    fit        R2 (with interval), slope and AUC on held-out latents, and under "real" on held-out real
               images; condition number of the constraints; "agreement": cosine of the effects measured on
               two halves of the real images
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
        """Return f~(w), the scores (N,) that the linear surrogate predicts for latents (N, d)."""
        return w @ self.alpha + self.intercept

    def holding(self, others: Sequence[Direction], statistics: LatentStatistics) -> Direction:
        """Return the direction with the shortest step of the same effect that keeps the scores of other
        directions constant, to first order.

        raises  InputError where a constraint contradicts the direction
        """
        own = _effect(self, statistics)[None]
        added = torch.stack([d.alpha.to(own) if len(d.held) else _effect(d, statistics) for d in others])
        held = torch.cat([self.held.to(own), added])
        step, condition = least_step(torch.cat([own, held]).t(), statistics.covariance)
        return replace(
            self,
            step=step,
            held=held,
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
    """Fit the global direction of one score, and return it.

    score    function of images (N, C, H, W) in [-1, 1] to scores (N,): the model with its target; it needs
             no gradient
    hold     other scores (confounders) that a step keeps constant, to first order
    anchors  real training images: f~ is fitted to them too, and the step to the change of *their* scores;
             None, or the published form: generated images alone
    cost     `samples` passes of the generator and of every model, 4 x 500 for the calibration; with
             anchors `draws` passes with gradients, or 10 x `draws` without
    raises   InputError when the score is constant, or, for the published form, when the model gives the
             same class to every generated image
    """
    config = config or DirectionConfig()
    rng = torch.Generator().manual_seed(config.seed)
    scorers = [score, *hold]
    w, scores = _sample(generator, scorers, config, rng)
    if float(scores[:, 0].std()) < 1e-6:
        raise InputError(
            f"expected scores for {target} that differ between generated images; got the same score for all; "
            "check the target, and that the generator is trained"
        )
    cut = len(w) * 4 // 5
    statistics = LatentStatistics(w[:cut].mean(dim=0), torch.cov(w[:cut].t()))
    training, testing = (w[:cut], scores[:cut]), (w[cut:], scores[cut:])
    if config.published:
        alpha, intercept = _logistic(training[0], training[1][:, 0])
        step, details = alpha / alpha.square().sum(), {"condition": 1.0}
        held = alpha.new_zeros(0, len(alpha))
    elif anchors is None:
        alpha, intercept, step, held, details = _fit_generated(
            generator, scorers, training, testing, statistics
        )
    else:
        alpha, intercept, step, held, details = _fit_real(
            generator, scorers, training, anchors, statistics, config, rng
        )
    fit = _quality(testing[0] @ alpha + intercept, testing[1][:, 0], config)
    return Direction(
        alpha=alpha,
        intercept=float(intercept),
        step=step,
        deviation=float(1 / statistics.length(step).clamp_min(1e-12)),
        target=str(target),
        model=model,
        fit={**fit, **details, "config": asdict(config)},
        held=held,
    )


def _effect(direction: Direction, statistics: LatentStatistics) -> Tensor:
    """Return the gradient (d,) of the score by w for which the direction's step is the shortest."""
    step = direction.step.to(statistics.covariance)
    common = statistics.precision.to(step) @ step
    return common / (common @ step)


def least_step(probes: Tensor, covariance: Tensor) -> tuple[Tensor, float]:
    """Return the step (d,) of least Mahalanobis length that changes the first probe by 1 and the others by 0.

    For probes A (d, k) and covariance S (d, d) it is S A (A' S A)^-1 e_1. The second value is the condition
    number of A' S A with its diagonal scaled to 1; a large one means that the constraints conflict.
    raises  InputError where the first probe is a combination of the others
    """
    spread = covariance.double() @ probes.double()
    gram = probes.double().t() @ spread
    scale = gram.diagonal().sqrt().clamp_min(1e-12)
    condition = float(torch.linalg.cond(gram / scale[:, None] / scale[None, :]))
    if condition > 1e8:
        raise InputError(
            "expected a target independent of the scores kept constant; got the same direction; "
            "keep fewer scores constant"
        )
    wanted = torch.zeros(len(gram), dtype=torch.float64)
    wanted[0] = 1.0
    return (spread @ torch.linalg.solve(gram, wanted.to(gram.device))).float(), condition


def _fit_generated(
    generator: Generator,
    scorers: list[Scorer],
    training: tuple[Tensor, Tensor],
    testing: tuple[Tensor, Tensor],
    statistics: LatentStatistics,
) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
    """Fit f~ and its step to generated images; return alpha, intercept, step, held gradients and details."""
    w, scores = training
    alpha, intercept = _ridge(w, scores[:, 0])
    probes = torch.stack([alpha, *(_ridge(w, s)[0] for s in scores.t()[1:])], dim=1)
    step, condition = least_step(probes, statistics.covariance)
    latents = testing[0][:500].to(generator.sample(1, torch.Generator()).device)
    with torch.no_grad():
        generated = Anchors(images=generator.decode(latents), latents=latents)
    step, slope = _calibrated(generator, scorers[0], generated, step)
    details = {"condition": condition, "calibration": slope}
    return alpha, intercept, step, probes[:, 1:].t(), details


def _fit_real(
    generator: Generator,
    scorers: list[Scorer],
    training: tuple[Tensor, Tensor],
    anchors: Anchors,
    statistics: LatentStatistics,
    config: DirectionConfig,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
    """Fit f~ to generated and real images, and the step to the effects on the real ones; return as
    `_fit_generated`."""
    real = anchors.part(slice(config.anchors))
    end = len(real) * 4 // 5
    scores = _scores(scorers[:1], real.images, config)[:, 0]
    latents = real.latents.cpu()
    w, values = torch.cat([latents[:end], training[0]]), torch.cat([scores[:end], training[1][:, 0]])
    weights = torch.ones(len(w))
    weights[:end] = 3 * len(training[0]) / end  # real images have three quarters of the total weight
    alpha, intercept = _ridge(w, values, weights)
    quality = _quality(latents[end:] @ alpha + intercept, scores[end:], config)
    effects, agreement = _effects(generator, scorers, real.part(slice(end)), statistics, config, rng)
    short, condition = least_step(effects, torch.eye(len(effects)))
    held_out = real.part(slice(end, end + 500))
    step, slope = _calibrated(generator, scorers[0], held_out, statistics.factor @ short)
    details = {"condition": condition, "calibration": slope, "agreement": agreement, "real": quality}
    held = (statistics.precision @ statistics.factor @ effects[:, 1:]).t()
    return alpha, intercept, step, held, details


def _sample(
    generator: Generator, scorers: list[Scorer], config: DirectionConfig, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return sampled latents (samples, d) and the scores (samples, scorers) of their images, on the CPU."""
    ws, scores = [], []
    for start in range(0, config.samples, config.batch):
        with torch.no_grad():
            w = generator.sample(min(config.batch, config.samples - start), rng)
            scores.append(_scores(scorers, generator.decode(w), config))
        ws.append(w.cpu())
    return torch.cat(ws), torch.cat(scores)


def _scores(scorers: Sequence[Scorer], images: Tensor, config: DirectionConfig) -> Tensor:
    """Return the scores (N, scorers) of images (N, C, *S), on the CPU."""
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
    """Return the mean effect (d, scorers) of one standard deviation of w on each score of a real image, and
    the cosine of the first score's effects on two halves of the images.

    With z ~ N(0, reach^2 I) and frame(z) = x + G(w + Fz) - G(w), F F' = S, the effect is E[gradient of
    score(frame(z)) by z]. By Stein's identity it is also the regression of score(frame(z)) on z, used for
    models without gradients with antithetic pairs z and -z, whose difference has no even part.
    """
    device = real.latents.device
    factor = statistics.factor.to(device)
    rounds = config.draws if real.gradients else 5 * config.draws
    rows = torch.arange(rounds) % len(real)
    values, draws = [], []
    for part in rows.split(64):
        images, w = real.images[part.to(device)], real.latents[part.to(device)]
        z = config.reach * torch.randn(len(part), w.shape[1], generator=rng).to(device)
        with torch.no_grad():
            reconstruction = generator.decode(w)
        if real.gradients:
            z.requires_grad_(True)
            with torch.enable_grad():
                frames = carry_over(images, generator.decode(w + z @ factor.t()) - reconstruction)
                slopes = [torch.autograd.grad(s(frames).sum(), z, retain_graph=True)[0] for s in scorers]
            values.append(torch.stack([slope.detach().cpu() for slope in slopes], dim=2))
            continue
        with torch.no_grad():
            ends = [
                carry_over(images, generator.decode(w + sign * z @ factor.t()) - reconstruction)
                for sign in (1, -1)
            ]
            values.append((_scores(scorers, ends[0], config) - _scores(scorers, ends[1], config)) / 2)
        draws.append(z.cpu())
    every, half = torch.cat(values), rounds // 2

    def effect(rows_of_half: slice) -> Tensor:
        if real.gradients:
            return every[rows_of_half].mean(dim=0)
        z = torch.cat(draws)[rows_of_half]
        return torch.stack([_slopes(z, column) for column in every[rows_of_half].t()], dim=1)

    halves = [effect(slice(half))[:, 0], effect(slice(half, None))[:, 0]]
    return effect(slice(None)), float(torch.nn.functional.cosine_similarity(halves[0], halves[1], dim=0))


def _slopes(z: Tensor, values: Tensor) -> Tensor:
    """Return the coefficients (d,) of a ridge regression of values (N,) on z (N, d), without intercept."""
    from sklearn.linear_model import RidgeCV

    model = RidgeCV(alphas=np.logspace(-1, 6, 15), fit_intercept=False)
    model.fit(z.double().numpy(), values.double().numpy())
    return torch.from_numpy(np.asarray(model.coef_)).float()


def _ridge(w: Tensor, values: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return coefficients (d,) and intercept of a ridge regression of values (N,) on standardised latents
    (N, d); generalised cross-validation selects the penalty."""
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
    """Return coefficients (d,) and intercept of a logistic regression of the decisions `values` > 0."""
    from sklearn.linear_model import LogisticRegression

    decisions = (values > 0).numpy()
    if decisions.all() or not decisions.any():
        raise InputError(
            "expected both classes among the model's decisions on generated images; got one; "
            "use more samples, or the default form"
        )
    model = LogisticRegression(max_iter=2000).fit(w.double().numpy(), decisions)
    return torch.from_numpy(model.coef_[0]).float(), torch.tensor(float(model.intercept_[0]))


def _quality(expected: Tensor, measured: Tensor, config: DirectionConfig) -> dict[str, Any]:
    """Return R2 with its bootstrap interval, slope, AUC and count of held-out scores (N,)."""
    from sklearn.metrics import r2_score, roc_auc_score

    a, b = expected.numpy(), measured.numpy()
    rng = np.random.default_rng(config.seed)
    resamples = [rng.integers(len(a), size=len(a)) for _ in range(config.bootstrap)]
    spread = [r2_score(b[rows], a[rows]) for rows in resamples]
    decisions = b > 0
    return {
        "r2": float(r2_score(b, a)),
        "r2_interval": [float(v) for v in np.percentile(spread, [2.5, 97.5])],
        "slope": float(np.polyfit(a, b, 1)[0]),
        "auc": float(roc_auc_score(decisions, a)) if 0 < decisions.mean() < 1 else None,
        "held_out": len(a),
    }


def _calibrated(generator: Generator, score: Scorer, anchors: Anchors, step: Tensor) -> tuple[Tensor, float]:
    """Return the step rescaled to one unit of measured change on `anchors`, and the mean change per unit that
    was measured before."""
    step = step.to(anchors.latents.device)
    slopes = []
    with torch.no_grad():
        for images, w in zip(anchors.images.split(250), anchors.latents.split(250), strict=True):
            reconstruction = generator.decode(w)
            before = score(images)
            deviation = float(before.std().clamp_min(1e-6)) if len(before) > 1 else 1.0
            for size in (-deviation, -deviation / 2, deviation / 2, deviation):
                after = score(carry_over(images, generator.decode(w + size * step) - reconstruction))
                slopes.append(((after - before) / size).cpu())
    slope = float(torch.cat(slopes).mean())
    return (step / slope if slope > 0.05 else step).cpu(), slope
