from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import EXPLAINERS, Counterfactual, InputError, Question
from contrafact.counterfactual.change_mask import narrowed
from contrafact.counterfactual.finding_search import FindingSearch
from contrafact.counterfactual.inversion import Refinement
from contrafact.counterfactual.latent_walk import (
    LatentSearch,
    LatentWalk,
    bundle_of,
    differentiable,
    inverted,
    reasons,
)

GRID, HALVINGS = 8, 5  # of the search for the smallest share of a move


@runtime_checkable
class Coded(Protocol):
    """A generator whose latents hold a code per finding, apart from the anatomy."""

    def code(self, finding: int) -> slice:
        """Where the code of a finding stands in a latent."""

    def draw_code(self, n: int, rng: Any) -> Any:
        """Codes (n, length) of a finding at strength 1."""

    def strength(self, latents: Any) -> Any:
        """(N, findings) of latents; 0: the finding is not there."""


@EXPLAINERS.register("medxgan")
@dataclass(frozen=True, slots=True, kw_only=True)
class MedXGANCounterfactual:
    """The same anatomy with the finding taken away, or added, until the model changes its mind.

    images  float32 (N, C, *S) in the bundle's units, at least the bundle's size
    gives   one `Counterfactual` per image, on the bundle's grid: the image plus what the generator changes,
            G(a, p') - G(a, p), measured by the model frame by frame. `notes["spread"]`: mean standard
            deviation between the counterfactuals that reached the goal, in image units;
            `notes["counterfactuals"]`: how many did; `notes["anatomy"]`: by how much the anatomy itself was
            moved, in standard deviations of each coordinate, 0 where the finding's code was enough;
            `notes["area"]`: the share of the image in which a change was allowed in the end, 0 where none
            was needed
    cost    one encoder pass, `refinement.steps` passes with gradients, 14 passes per way that is tried
            (one to remove, `several` + 1 to add), up to 29 and, following, as many again for each that
            reaches the goal, and `frames` for the strip; where the model is followed, 31 passes with
            gradients and 14 more for each
    raises  InputError without a bundle of the family medxgan, for a target it has no finding for, and as
            `latent-walk`
    Source: Dravid et al. 2022 (medXGAN, arXiv 2204.05376). Differs: the image itself is changed, not its
    reconstruction; both directions; the smallest strength that reaches the goal is searched; where the
    finding's code alone does not get there, the model's gradient on the frame shown turns the code, and
    moves the anatomy at a price (docs/decisions/0016); what does little for the answer is left as it was
    (docs/decisions/0018); the generator stays as it is, and no mask of the lesion takes part.

    goal, frames, blend, tolerance, refinement   as in `latent-walk`
    budget    greatest strength of an added finding; 1 is the strongest the generator was trained on
    several   how many findings to draw and try when one is added; the strip shows the one with the
              smallest change
    follow    lead on by the model's gradient where no way reaches the goal; a model without gradients, or
              False: the drawn ways alone
    anatomy   price of moving the anatomy with it (one standard deviation in every coordinate, where the
              way to the goal costs 2); None: it stays as it is
    keep      share of the model's change of mind for which only the part of the image is changed that does
              that much; None: whatever the generator draws differently
    """

    strip: ClassVar[bool] = True
    needs_bundle: ClassVar[bool] = True
    needs_part: ClassVar[str] = "findings"
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

    def _settings(self) -> LatentWalk:
        """What a walk has in common with this."""
        return LatentWalk(
            goal=self.goal,
            frames=self.frames,
            budget=self.budget,
            follow=0.0,
            blend=self.blend,
            tolerance=self.tolerance,
            refinement=self.refinement,
        )

    def __call__(self, question: Question, rng: np.random.Generator) -> list[Counterfactual]:
        ways = self._ways(question, rng)
        walking, goals, chosen = ways.walking, ways.goals, ways.best()
        move = (ways.share[:, None].to(ways.full) * ways.full)[chosen]
        met = walking.satisfied(goals)
        move[met.to(move.device)] = 0
        walking.walker = replace(walking.walker, where=ways.where[chosen])
        shares = torch.linspace(0, 1, self.frames)
        asked = torch.where(met, 0.0, goals - walking.start)[:, None] * shares
        moved = (ways.score[chosen] - walking.start) / (goals - walking.start)
        stopped = reasons(ways.reached[chosen], met, moved, ways.adds[chosen])
        several = ways.pictures()
        question.notes["spread"] = [float(spread(p).mean()) for p in several]
        question.notes["counterfactuals"] = [float(len(p)) for p in several]
        question.notes["anatomy"] = ways.steering.moved(move).tolist()
        area = ways.where[chosen].flatten(1).mean(dim=1).cpu()
        question.notes["area"] = torch.where(met, 0.0, area).tolist()
        moves = move[:, None] * shares[None, :, None].to(move)
        return walking.strips(asked, moves, stopped, goals.tolist())

    def counterfactuals(self, question: Question, rng: np.random.Generator) -> list[NDArray[np.float32]]:
        """For each image every counterfactual found (M, C, *S) that reaches the goal, in image units; the
        smallest change first; none where the image is beyond the goal already. `spread` of it is where they
        differ."""
        return self._ways(question, rng).pictures()

    def _ways(self, question: Question, rng: np.random.Generator) -> _Ways:
        bundle = bundle_of(question, "medxgan")
        if not isinstance(bundle.latent.generator, Coded):
            raise InputError(
                f"medxgan needs a bundle whose generator has codes for findings; '{bundle.name}' has none: "
                "use latent-walk, or fit a bundle with family = 'medxgan'"
            )
        finding, sign = bundle.finding(question.predictor, question.target)
        canvas, latents = inverted(question, bundle, self.refinement)
        walking = LatentSearch(self._settings(), question, bundle, None, canvas, latents)
        draw = torch.Generator().manual_seed(int(rng.integers(2**62)))
        drawn = bundle.latent.generator.draw_code(self.several, draw).to(latents)
        rises = (walking.goals() > walking.start) == (sign > 0)
        steering = FindingSearch.of(
            walking.walker,
            bundle.latent.generator,
            finding=finding,
            length=float(drawn.norm(dim=1).mean()),
            budget=self.budget,
            price=self.anatomy,
        )
        ways = _Ways(walking, steering, rises.tolist(), drawn * self.budget)
        follow = self.follow and differentiable(question)
        if follow:
            ways.lead_on()
        if self.keep and self.blend:
            for led in (False, True) if follow else (False,):
                ways.narrow(self.keep, follow=led)
        return ways


class _Ways:
    """Every way that is tried, for every image of a batch: M of them.

    row, adds       (M,) of which image, and whether a finding is added
    full            (M, d) the whole move; `share` (M,) of it is made
    reached, score  (M,) whether the goal is, and what the model says there
    where           (M, 1, *S) the share of the change that is made at each pixel
    """

    def __init__(
        self, walking: LatentSearch, steering: FindingSearch, rises: list[bool], drawn: Tensor
    ) -> None:
        self.walking, self.steering, self.goals = walking, steering, walking.goals()
        latents, place = walking.walker.latents, steering.code
        rows, full = [], []
        for number, (latent, adds) in enumerate(zip(latents, rises, strict=True)):
            own = latent[place]
            ends = torch.zeros_like(own)[None]
            if adds:  # more of what is there already, or something new
                length = drawn.norm(dim=1).mean()
                grown = own / own.norm().clamp_min(1e-6) * length
                ends = torch.cat([grown[None], drawn]) if float(own.norm()) > 1e-3 else drawn
            move = latent.new_zeros(len(ends), len(latent))
            move[:, place] = ends - own
            full.append(move)
            rows += [number] * len(ends)
        self.row, self.full = torch.tensor(rows), torch.cat(full)
        self.adds = torch.tensor(rises)[self.row]
        whole = walking.walker.where
        everywhere = torch.ones_like(walking.walker.images[:, :1])
        self.region = everywhere if whole is None else whole
        self.where = self.region[self.row]
        self.share, self.score, self.reached = self._search(torch.arange(len(rows)))

    def lead_on(self) -> None:
        """Follow the model where no way of an image reaches its goal."""
        found = torch.zeros(len(self.goals), dtype=torch.bool)
        found[self.row[self.reached]] = True
        self._lead((~(found | self.walking.satisfied(self.goals)))[self.row].nonzero()[:, 0])

    def _lead(self, ways: Tensor) -> None:
        if self.steering.price is None:
            ways = ways[self.adds[ways]]  # of a finding that is taken away nothing else may move
        if not len(ways):
            return
        row = self.row[ways]
        at = ways.to(self.full.device)
        self.full[at] = self.steering(row, self.full[at], self.goals[row], self.adds[ways], self.where[at])
        self.share[ways], self.score[ways], self.reached[ways] = self._search(ways)

    def narrow(self, keep: float, *, follow: bool) -> None:
        """Leave out of every way that reaches its goal what does little for it (see `narrowed`), where less
        of the image changes then: a part that reaches the goal by itself, or (`follow`) one within which the
        model is followed where that is needed."""
        needed = ~self.walking.satisfied(self.goals)
        ways = (self.reached & needed[self.row]).nonzero()[:, 0]
        if not len(ways):
            return
        row, goals = self.row[ways], None if follow else self.goals[self.row[ways]]
        part = narrowed(self.walking.walker, row, self.full[ways], goals=goals, keep=keep)
        part = part * self.region[row]
        other = (part != self.where[ways]).flatten(1).any(dim=1).cpu()  # what is the same was searched already
        ways, part = ways[other], part[other]
        if not len(ways):
            return
        names, size = ("full", "share", "score", "where"), self._sizes(ways)
        before = {name: getattr(self, name)[ways] for name in names}
        self.where[ways] = part
        self.share[ways], self.score[ways], self.reached[ways] = self._search(ways)
        if follow:
            self._lead(ways[~self.reached[ways]])
        worse = ~self.reached[ways] | (self._sizes(ways) >= size)
        for name, values in before.items():
            getattr(self, name)[ways[worse]] = values[worse]
        self.reached[ways] = True

    def _search(self, ways: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The smallest share of each move that reaches the goal: a grid, then bisection. The share, the
        score there, and whether the goal is reached."""
        row, full, where = (x[ways.to(x.device)] for x in (self.row, self.full, self.where))
        goals, start = self.goals[row], self.walking.start[row]
        sign = torch.where(goals >= start, 1.0, -1.0)

        def at(share: Tensor) -> Tensor:
            moves = share[:, None].to(full) * full
            return self.walking.walker.scores(row.to(moves.device), moves, where).cpu()

        grid = torch.linspace(0, 1, GRID + 1)
        scores = torch.stack([at(s.expand(len(goals))) for s in grid[1:]], dim=1)
        hit = (scores - goals[:, None]) * sign[:, None] >= 0
        reached = hit.any(dim=1)
        first = hit.int().argmax(dim=1)
        low, high = grid[first], torch.where(reached, grid[first + 1], 1.0)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            enough = (at(middle) - goals) * sign >= 0
            low = torch.where(enough, low, middle)
            high = torch.where(enough & reached, middle, high)
        return high, at(high), reached

    def best(self) -> Tensor:
        """(N,) the way for each image: the smallest change that reaches the goal, else the one that gets
        closest."""
        return torch.tensor([self._order(n)[0] for n in range(len(self.goals))])

    def _order(self, number: int) -> list[int]:
        mine = (self.row == number).nonzero()[:, 0].tolist()
        size = self._sizes(torch.tensor(mine)).tolist()
        far = (self.score - self.goals[self.row]).abs().tolist()
        keys = {w: (0, s) if self.reached[w] else (1, far[w]) for w, s in zip(mine, size, strict=True)}
        return sorted(mine, key=keys.__getitem__)

    def _sizes(self, ways: Tensor) -> Tensor:
        """(M,) mean change of a pixel."""
        change = self._frames(ways) - self.walking.walker.images[self.row[ways]]
        return change.abs().flatten(1).mean(dim=1).cpu()

    def _frames(self, ways: Tensor) -> Tensor:
        with torch.no_grad():
            moves = self.share[ways, None].to(self.full) * self.full[ways]
            return self.walking.walker.frame(self.row[ways], moves, self.where[ways])

    def pictures(self) -> list[NDArray[np.float32]]:
        """For each image the frames (M, C, *S) that reach the goal, in image units; none where it is reached
        already, since its ways lead back."""
        found, met = [], self.walking.satisfied(self.goals)
        for number in range(len(self.goals)):
            ways = [w for w in self._order(number) if self.reached[w] and not met[number]]
            frames = self._frames(torch.tensor(ways, dtype=torch.long))
            found.append(self.walking.bundle.to_units(frames).cpu().numpy())
        return found


def spread(counterfactuals: NDArray[np.float32]) -> NDArray[np.float32]:
    """(*S) where counterfactuals (M, C, *S) of one image differ: their standard deviation, mean over the
    channels; 0 where there is one or none."""
    if len(counterfactuals) < 2:
        return np.zeros(counterfactuals.shape[2:], dtype=np.float32)
    return np.asarray(counterfactuals.std(axis=0).mean(axis=0), dtype=np.float32)
