"""medXGAN counterfactuals: a finding is removed from or added to an image of constant anatomy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import EXPLAINERS, Counterfactual, InputError, Question
from contrafact.counterfactual.change_mask import change_mask
from contrafact.counterfactual.coded import Coded
from contrafact.counterfactual.finding_search import FindingSearch
from contrafact.counterfactual.inversion import Refinement
from contrafact.counterfactual.latent_search import (
    LatentSearch,
    SearchSettings,
    bundle_of,
    differentiable,
    inverted,
    outcomes_of,
)

GRID, HALVINGS = 8, 5  # grid points and bisections of the search for the smallest share of an offset


@EXPLAINERS.register("medxgan")
@dataclass(frozen=True, slots=True, kw_only=True)
class MedXGANCounterfactual:
    """Remove a finding, or add one, with the anatomy kept constant, until the prediction flips.

    images  float32 (N, C, *S) in the bundle's units, at least the bundle's size
    gives   one `Counterfactual` per image, on the bundle's grid: the image plus the generated change,
            G(a, p') - G(a, p); the model scores every frame. `notes["spread"]`: mean standard deviation
            between the counterfactuals that reach the goal, in image units; `notes["counterfactuals"]`: their
            number; `notes["anatomy"]`: change of the anatomy in standard deviations of each coordinate, 0
            where the finding's code suffices; `notes["area"]`: share of the image inside the final change
            mask, 0 where no change is needed
    cost    one encoder pass, `refinement.steps` passes with gradients, 14 passes per candidate (one to
            remove, `several` + 1 to add), up to 29 and, with `follow`, as many again for each that reaches
            the goal, and `frames` for the result; 31 passes with gradients and 14 more for each candidate
            that the model's gradient optimises
    raises  InputError without a bundle of the family medxgan, for a target without a finding, and as
            `latent-walk`
    Source: Dravid et al. 2022 (medXGAN, arXiv 2204.05376). Differs: the image itself is changed, not its
    reconstruction; both directions; the smallest strength that reaches the goal is searched; where the
    finding's code alone does not suffice, the model's gradient on the final frame changes the code, and
    the anatomy at a price (docs/decisions/0016); changes of little effect on the score are masked out
    (docs/decisions/0018); the generator is not adapted to the image, and no lesion mask is used.

    goal, frames, blend, tolerance, refinement   as in `latent-walk`
    budget    greatest strength of an added finding; 1 is the greatest in the generator's training
    several   number of sampled candidates when a finding is added; the result is the one with the smallest
              change
    follow    optimise a candidate by the model's gradient where none reaches the goal; False, or a model
              without gradients: sampled candidates alone
    anatomy   weight of a change of the anatomy (one standard deviation in every coordinate, where the whole
              missing change of the score has weight 2); None: the anatomy is kept constant
    keep      share of the score's change that the smallest mask of the change must preserve; None: no mask
    """

    strip: ClassVar[bool] = True
    needs_bundle: ClassVar[bool] = True
    needs_part: ClassVar[str] = "findings"
    live: ClassVar[bool] = True
    goal: float | None = None
    frames: int = 9
    budget: float = 1.25
    several: int = 4
    follow: bool = True
    anatomy: float | None = 0.3
    keep: float | None = 0.9
    blend: bool = True
    tolerance: float = 1.0
    refinement: Refinement = field(default_factory=Refinement)

    def __post_init__(self) -> None:
        self._settings()
        if self.several < 1:
            raise InputError(f"several must be at least 1; got {self.several}")
        if self.anatomy is not None and not self.anatomy >= 0:
            raise InputError(f"anatomy must be 0 or more, or None; got {self.anatomy}")
        if self.keep is not None and not 0 < self.keep <= 1:
            raise InputError(f"keep must be above 0 and at most 1, or None; got {self.keep}")

    def _settings(self) -> SearchSettings:
        """Return the settings of the latent search; its checks apply to the shared parameters."""
        return SearchSettings(
            goal=self.goal,
            frames=self.frames,
            budget=self.budget,
            follow=0.0,
            blend=self.blend,
            tolerance=self.tolerance,
        )

    def __call__(self, question: Question, rng: np.random.Generator) -> list[Counterfactual]:
        candidates = self._candidates(question, rng)
        search, goals, chosen = candidates.search, candidates.goals, candidates.best()
        offset = (candidates.share[:, None].to(candidates.full) * candidates.full)[chosen]
        met = search.satisfied(goals)
        offset[met.to(offset.device)] = 0
        search.path = replace(search.path, where=candidates.where[chosen])
        fractions = torch.linspace(0, 1, self.frames)
        requested = torch.where(met, 0.0, goals - search.start)[:, None] * fractions
        achieved = (candidates.score[chosen] - search.start) / (goals - search.start)
        outcomes = outcomes_of(candidates.reached[chosen], met, achieved, candidates.adds[chosen])
        successful = candidates.successful_frames()
        question.notes["spread"] = [float(spread(frames).mean()) for frames in successful]
        question.notes["counterfactuals"] = [float(len(frames)) for frames in successful]
        question.notes["anatomy"] = candidates.finding_search.anatomy_distance(offset).tolist()
        area = candidates.where[chosen].flatten(1).mean(dim=1).cpu()
        question.notes["area"] = torch.where(met, 0.0, area).tolist()
        offsets = offset[:, None] * fractions[None, :, None].to(offset)
        return search.strips(requested, offsets, outcomes, goals.tolist())

    def counterfactuals(self, question: Question, rng: np.random.Generator) -> list[NDArray[np.float32]]:
        """Return for each image all counterfactuals (M, C, *S) that reach the goal, in image units.

        The smallest change comes first; the array is empty where the unchanged image meets the goal already.
        `spread` of the array shows where they differ.
        """
        return self._candidates(question, rng).successful_frames()

    def _candidates(self, question: Question, rng: np.random.Generator) -> _Candidates:
        """Return the candidates of a batch after search, optimisation by the model and masking."""
        bundle = bundle_of(question, "medxgan")
        if not isinstance(bundle.latent.generator, Coded):
            raise InputError(
                f"medxgan needs a bundle whose generator has codes for findings; '{bundle.name}' has none: "
                "use latent-walk, or fit a bundle with family = 'medxgan'"
            )
        finding, sign = bundle.finding(question.predictor, question.target)
        canvas, latents = inverted(question, bundle, self.refinement)
        search = LatentSearch(self._settings(), question, bundle, None, canvas, latents)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        codes = bundle.latent.generator.draw_code(self.several, generator).to(latents)
        rises = (search.goals() > search.start) == (sign > 0)
        finding_search = FindingSearch.of(
            search.path,
            bundle.latent.generator,
            finding=finding,
            length=float(codes.norm(dim=1).mean()),
            budget=self.budget,
            price=self.anatomy,
        )
        candidates = _Candidates(search, finding_search, rises.tolist(), codes * self.budget)
        follow = self.follow and differentiable(question)
        if follow:
            candidates.follow_model()
        if self.keep and self.blend:
            for following in (False, True) if follow else (False,):
                candidates.apply_masks(self.keep, follow=following)
        return candidates


class _Candidates:
    """The M candidate counterfactuals of a batch of images.

    row, adds       (M,) index of the image, and whether a finding is added
    full            (M, d) the full latent offset; the share `share` (M,) of it is applied
    reached, score  (M,) whether the candidate reaches the goal, and its score
    where           (M, 1, *S) change mask: the share of the change that is applied at each pixel
    """

    def __init__(
        self, search: LatentSearch, finding_search: FindingSearch, rises: list[bool], codes: Tensor
    ) -> None:
        self.search, self.finding_search, self.goals = search, finding_search, search.goals()
        latents, code = search.path.latents, finding_search.code
        rows, full = [], []
        for number, (latent, adds) in enumerate(zip(latents, rises, strict=True)):
            own = latent[code]
            ends = torch.zeros_like(own)[None]
            if adds:  # a present finding is amplified, or a sampled one is added
                length = codes.norm(dim=1).mean()
                grown = own / own.norm().clamp_min(1e-6) * length
                ends = torch.cat([grown[None], codes]) if float(own.norm()) > 1e-3 else codes
            offset = latent.new_zeros(len(ends), len(latent))
            offset[:, code] = ends - own
            full.append(offset)
            rows += [number] * len(ends)
        self.row, self.full = torch.tensor(rows), torch.cat(full)
        self.adds = torch.tensor(rises)[self.row]
        region = search.path.where
        everywhere = torch.ones_like(search.path.images[:, :1])
        self.region = everywhere if region is None else region
        self.where = self.region[self.row]
        self.share, self.score, self.reached = self._search(torch.arange(len(rows)))

    def follow_model(self) -> None:
        """Optimise the candidates of images without a successful one by the model's gradient."""
        successful = torch.zeros(len(self.goals), dtype=torch.bool)
        successful[self.row[self.reached]] = True
        self._follow((~(successful | self.search.satisfied(self.goals)))[self.row].nonzero()[:, 0])

    def _follow(self, candidates: Tensor) -> None:
        """Optimise selected candidates by the model's gradient, and search their shares again."""
        if self.finding_search.price is None:
            candidates = candidates[self.adds[candidates]]  # to remove a finding, only the anatomy could change
        if not len(candidates):
            return
        row = self.row[candidates]
        index = candidates.to(self.full.device)
        self.full[index] = self.finding_search(
            row, self.full[index], self.goals[row], self.adds[candidates], self.where[index]
        )
        self.share[candidates], self.score[candidates], self.reached[candidates] = self._search(candidates)

    def apply_masks(self, keep: float, *, follow: bool) -> None:
        """Mask the changes of successful candidates (see `change_mask`) where less of the image changes then.

        Without `follow` the masked change must reach the goal by itself; with it, the candidate is optimised
        within the mask by the model's gradient where it does not.
        """
        needed = ~self.search.satisfied(self.goals)
        candidates = (self.reached & needed[self.row]).nonzero()[:, 0]
        if not len(candidates):
            return
        row, goals = self.row[candidates], None if follow else self.goals[self.row[candidates]]
        mask = change_mask(self.search.path, row, self.full[candidates], goals=goals, keep=keep)
        mask = mask * self.region[row]
        # Equal masks were searched already.
        different = (mask != self.where[candidates]).flatten(1).any(dim=1).cpu()
        candidates, mask = candidates[different], mask[different]
        if not len(candidates):
            return
        names, size = ("full", "share", "score", "where"), self._sizes(candidates)
        before = {name: getattr(self, name)[candidates] for name in names}
        self.where[candidates] = mask
        self.share[candidates], self.score[candidates], self.reached[candidates] = self._search(candidates)
        if follow:
            self._follow(candidates[~self.reached[candidates]])
        rejected = ~self.reached[candidates] | (self._sizes(candidates) >= size)
        for name, values in before.items():
            getattr(self, name)[candidates[rejected]] = values[rejected]
        self.reached[candidates] = True

    def _search(self, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the smallest share of each offset that reaches the goal, by a grid and bisection, the score
        there, and whether the goal is reached."""
        row, full, where = (x[candidates.to(x.device)] for x in (self.row, self.full, self.where))
        goals, start = self.goals[row], self.search.start[row]
        sign = torch.where(goals >= start, 1.0, -1.0)

        def scores_at(share: Tensor) -> Tensor:
            offsets = share[:, None].to(full) * full
            return self.search.path.scores(row.to(offsets.device), offsets, where).cpu()

        grid = torch.linspace(0, 1, GRID + 1)
        scores = torch.stack([scores_at(s.expand(len(goals))) for s in grid[1:]], dim=1)
        beyond = (scores - goals[:, None]) * sign[:, None] >= 0
        reached = beyond.any(dim=1)
        first = beyond.int().argmax(dim=1)
        low, high = grid[first], torch.where(reached, grid[first + 1], 1.0)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            enough = (scores_at(middle) - goals) * sign >= 0
            low = torch.where(enough, low, middle)
            high = torch.where(enough & reached, middle, high)
        return high, scores_at(high), reached

    def best(self) -> Tensor:
        """Return the index (N,) of each image's best candidate: the smallest change that reaches the goal, else
        the closest score."""
        return torch.tensor([self._order(n)[0] for n in range(len(self.goals))])

    def _order(self, number: int) -> list[int]:
        """Return the indices of one image's candidates, the best first."""
        own = (self.row == number).nonzero()[:, 0].tolist()
        size = self._sizes(torch.tensor(own)).tolist()
        distance = (self.score - self.goals[self.row]).abs().tolist()
        keys = {w: (0, s) if self.reached[w] else (1, distance[w]) for w, s in zip(own, size, strict=True)}
        return sorted(own, key=keys.__getitem__)

    def _sizes(self, candidates: Tensor) -> Tensor:
        """Return the mean absolute change (M,) of the pixels."""
        change = self._frames(candidates) - self.search.path.images[self.row[candidates]]
        return change.abs().flatten(1).mean(dim=1).cpu()

    def _frames(self, candidates: Tensor) -> Tensor:
        """Return the frames (M, C, *S) of candidates, in [-1, 1]."""
        with torch.no_grad():
            offsets = self.share[candidates, None].to(self.full) * self.full[candidates]
            return self.search.path.frame(self.row[candidates], offsets, self.where[candidates])

    def successful_frames(self) -> list[NDArray[np.float32]]:
        """Return for each image the frames (M, C, *S) that reach the goal, in image units; none where the
        unchanged image meets it already."""
        frames_of_images, met = [], self.search.satisfied(self.goals)
        for number in range(len(self.goals)):
            candidates = [w for w in self._order(number) if self.reached[w] and not met[number]]
            frames = self._frames(torch.tensor(candidates, dtype=torch.long))
            frames_of_images.append(self.search.bundle.to_units(frames).cpu().numpy())
        return frames_of_images


def spread(counterfactuals: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the standard deviation (*S) of counterfactuals (M, C, *S) of one image at each voxel, averaged
    over channels; 0 for fewer than two."""
    if len(counterfactuals) < 2:
        return np.zeros(counterfactuals.shape[2:], dtype=np.float32)
    return np.asarray(counterfactuals.std(axis=0).mean(axis=0), dtype=np.float32)
