"""Latent integrated gradients: a heatmap from the line integral along generated images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import EXPLAINERS, InputError, Question, UnsupportedError, nearest, traits_of
from contrafact.counterfactual.bundle import Bundle
from contrafact.counterfactual.coded import WithNegative
from contrafact.counterfactual.inversion import Refinement
from contrafact.counterfactual.latent_search import (
    LatentSearch,
    SearchSettings,
    bundle_of,
    differentiable,
    inverted,
)
from contrafact.counterfactual.line_integral import ImagePath, LineIntegral, Measure, mean_gradient, scores_of

FORMS = ("path", "fixed", "published")
BY = ("mean", "product")
PUBLISHED = 101  # number of points of the published forms
KNOTS = 5  # number of knots of a searched latent path


@EXPLAINERS.register("latent-integrated-gradients", aliases=("lig", "latent_integrated_gradients"))
@dataclass(frozen=True, slots=True, kw_only=True)
class LatentIntegratedGradients:
    """Integrate the gradient along generated images, from the same anatomy without the finding to the image.

    images  float32 (N, C, H, W) in the bundle's units, at least the bundle's size
    gives   float32 (N, *S), target units, summed over channels, on the image's own grid; the change along the
            path is generated at the generator's size and enlarged. The map sums to f(image) - f(negative) up
            to `notes["completeness"]`, a share of that change, which `notes["change"]` gives;
            `notes["points"]`: number of images that the model scores, over all negatives
    cost    for each negative one latent walk (or one pass of the generator's `negative`), then one generator
            pass and one forward and backward pass of the model per point, 9 to `most`; without gradients 2 x
            `groups` to the power of the axes forward passes per segment, 4 segments or more
    raises  InputError as `latent-walk`; UnsupportedError for a form that needs gradients
    Source: Dravid et al. 2022 (arXiv 2204.05376), latent integrated gradients. Differs: the line integral
    along the images for a constant target (the published sum of gradients times the difference is not a
    line integral: the path is curved, and the class is chosen again at every point, which changes the
    sign half way); points are added where the integration error is largest; image details that the generator
    cannot represent are kept, so that the path ends in the image itself; along any path of latents.

    form      "path"; for comparison: "fixed" (difference x mean gradient, 101 points), and "published" (the
              same for the probability of the class preferred at each point; its completeness is measured on
              the probability of the image's class)
    anchored  the path ends in the image; False: in its reconstruction
    gap       target for the error of the sum, as a share of the change of the score
    most      maximum number of points per negative
    groups    number of boxes along each axis, for a model without gradients
    negatives number of negative counterparts; beyond the first, the path starts from the image's latent
              displaced by `spread` standard deviations of sampled latents, and the maps are averaged
    combine   another heatmap method, "integrated-gradients" in the paper, whose map is combined with this
              one. Each is divided by its sum of |values|; by "mean": their mean; by "product": this map's
              sign times the square root of the product of |values|. The result is scaled to this map's sum
              of |values|; it is not complete, and the note is `path_completeness`
    spread    displacement of the other negatives, in standard deviations of sampled latents
    by        "mean" or "product", see `combine`
    goal, budget, follow, refinement   of the search for the negative, as in `latent-walk`; a generator with
              `negative(latents)` gives it directly, and `follow` = 1 needs no fitted direction
    """

    needs_bundle: ClassVar[bool] = True
    form: str = "path"
    anchored: bool = True
    gap: float = 0.01
    most: int = 129
    groups: int = 8
    negatives: int = 1
    spread: float = 0.3
    combine: str | None = None
    by: str = "mean"
    goal: float | None = None
    budget: float = 5.0
    follow: float = 0.5
    refinement: Refinement = field(default_factory=Refinement)

    def __post_init__(self) -> None:
        for word, value, known in (("form", self.form, FORMS), ("by", self.by, BY)):
            if value not in known:
                raise InputError(
                    f"{word} must be one of {', '.join(known)}; got '{value}'{nearest(value, known)}"
                )
        if self.gap <= 0 or self.most < 9:
            raise InputError(f"gap must be above 0 and most at least 9; got {self.gap}, {self.most}")
        if self.groups < 1 or self.negatives < 1 or self.spread < 0:
            raise InputError(
                "expected groups and negatives of at least 1 and a spread of 0 or more; "
                f"got {self.groups}, {self.negatives}, {self.spread}"
            )
        self._settings()

    @property
    def sampled(self) -> bool:
        """Whether another seed gives another map."""
        other = self.combine is not None and traits_of(self.combine).sampled
        return self.negatives > 1 or bool(other)

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        bundle = bundle_of(question, "latent-integrated-gradients")
        if self.form != "path" and not differentiable(question):
            raise UnsupportedError(
                f"form '{self.form}' expects a model with gradients; got one without; use form 'path'"
            )
        knots = self._paths(question, bundle, rng)
        low, high = bundle.window
        images = (torch.as_tensor(question.images).to(knots.device) - low) / (high - low) * 2 - 1
        notes: dict[str, list[float]] = {"completeness": [], "change": [], "points": []}
        maps = []
        for image, paths in zip(images, knots, strict=True):
            results = [
                self._map(
                    question, bundle, ImagePath(bundle.latent.generator, path, image, anchor=self.anchored)
                )
                for path in paths
            ]
            maps.append(torch.stack([values for values, *_ in results]).mean(dim=0))
            gap, change, points = (np.array(column) for column in list(zip(*results, strict=True))[1:])
            notes["completeness"].append(float(gap.mean()))
            notes["change"].append(float(change.mean()))
            notes["points"].append(float(points.sum()))
        if self.combine is not None:
            notes["path_completeness"] = notes.pop("completeness")  # the combined map is not complete
        question.notes.update(notes)
        values = np.asarray(torch.stack(maps).cpu().numpy(), dtype=np.float32)
        return values if self.combine is None else self._combined(values, question, rng)

    def _settings(self) -> SearchSettings:
        """Return the settings of the latent search; its checks apply to the shared parameters."""
        return SearchSettings(
            goal=self.goal, frames=KNOTS, budget=self.budget, follow=self.follow, blend=self.anchored
        )

    def _paths(self, question: Question, bundle: Bundle, rng: np.random.Generator) -> Tensor:
        """Return the knots (N, negatives, K, d) of each path, from the negative to the image."""
        canvas, latents = inverted(question, bundle, self.refinement)
        noise = torch.from_numpy(rng.standard_normal((self.negatives, latents.shape[1]), dtype=np.float32))
        noise[0] = (
            0  # the first path starts at the image; one noise for all, so that no map depends on the batch
        )
        displacement = self.spread * noise.to(latents) @ bundle.latent.statistics.factor.to(latents).t()
        starts = (latents[:, None] + displacement).flatten(0, 1)
        generator = bundle.latent.generator
        if isinstance(generator, WithNegative):
            with torch.no_grad():
                knots = torch.stack([generator.negative(starts), starts], dim=1)
        else:
            repeated = np.repeat(question.images, self.negatives, axis=0)
            direction = None if self.follow == 1 else bundle.direction(question.predictor, question.target)
            search = LatentSearch(
                self._settings(),
                dataclasses.replace(question, images=repeated),
                bundle,
                direction,
                canvas.repeat_interleave(self.negatives, dim=0),
                starts,
            )
            goals = search.goals()
            offsets = search.search(goals, met=search.satisfied(goals), frames=KNOTS)[1]
            knots = starts[:, None] + offsets.to(starts).flip(1)
        return knots.unflatten(0, (len(latents), self.negatives))

    def _map(self, question: Question, bundle: Bundle, path: ImagePath) -> tuple[Tensor, float, float, int]:
        """Return the values (*S), the relative error of their sum, the change of the score, and the number of
        points."""
        score = bundle.scorer(question.predictor, question.target)
        if self.form == "path":
            integral = LineIntegral(path, score, groups=None if differentiable(question) else self.groups)
            integral.run(gap=self.gap, most=self.most)
            return integral.total(), integral.gap, integral.change, len(integral.scores)
        count = min(self.most, PUBLISHED)
        images = path([i / (count - 1) for i in range(count)])
        value = score
        if self.form == "published":
            score, value = _preferred(question, bundle, images)
        values = mean_gradient(images, score)
        change = float((scores_of(value, images[-1:]) - scores_of(value, images[:1]))[0])
        return values, abs(float(values.double().sum()) - change) / max(abs(change), 1e-6), change, count

    def _combined(
        self, values: NDArray[np.float32], question: Question, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Return maps (N, *S) combined with those of the method `combine`."""
        other = EXPLAINERS.make(str(self.combine))(dataclasses.replace(question, notes={}), rng)
        if not isinstance(other, np.ndarray):
            raise InputError(f"combine must name a heatmap method; got '{self.combine}'")
        axes = tuple(range(1, values.ndim))
        mass = np.abs(values).sum(axis=axes, keepdims=True)
        ours, theirs = (
            part / np.maximum(np.abs(part).sum(axis=axes, keepdims=True), 1e-30) for part in (values, other)
        )
        both = (ours + theirs) / 2
        if self.by == "product":
            both = np.sign(ours) * np.sqrt(np.abs(ours) * np.abs(theirs))
        scaled = both / np.maximum(np.abs(both).sum(axis=axes, keepdims=True), 1e-30) * mass
        return np.asarray(scaled, dtype=np.float32)


def _preferred(question: Question, bundle: Bundle, images: Tensor) -> tuple[Measure, Measure]:
    """Return two functions of images: the probability of the class preferred for each image, and that of the
    class preferred for the last of `images`."""
    predictor: Any = question.predictor

    def probabilities(images: Tensor) -> Tensor:
        values: Tensor = predictor.probabilities(predictor(bundle.to_units(images)))
        return torch.cat([1 - values, values], dim=1) if values.shape[1] == 1 else values

    with torch.no_grad():
        last = int(probabilities(images[-1:])[0].argmax())
    return lambda images: probabilities(images).amax(dim=1), lambda images: probabilities(images)[:, last]
