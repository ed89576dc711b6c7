"""Findings that are local: an addition is tried in several places, and trained in discs; and guides beside the
model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import contrafact as cf
from bright_half import SMALL, Brighter, bright_bundle, grey
from contrafact.core import InputError
from contrafact.core.places import smallest_place
from contrafact.generators import Translator, TranslatorConfig, TranslatorTrainerConfig, TranslatorTraining
from contrafact.generators.translator_losses import in_units_of
from contrafact.generators.translator_regions import (
    LocalRegions,
    discs,
    discs_around,
    occluded,
    places,
    random_discs,
    values_around,
)


class Local(Brighter):
    """Brightens by as much as the requested score, wherever it may."""

    def translate(self, encoded: object, to: Tensor) -> Tensor:
        step = (to - self.back(encoded)).view(-1, 1, 1, 1) * 0.5
        return torch.where(encoded.region > 0, (encoded.images + step).clamp(-1, 1), encoded.images)


def local_bundle(place: float = 0.4) -> cf.Bundle:
    made = Local(TranslatorConfig(**SMALL, place=place))
    made.low.fill_(-3.0)
    made.high.fill_(3.0)
    return bright_bundle(translator=made.eval())


def test_a_change_lies_in_one_place_and_the_best_of_those_tried() -> None:
    """The model reads the upper half: a disc in the lower half changes no score."""
    bundle = local_bundle()
    dark = grey(110)
    strip = cf.explain("translate", bundle.predictor, dark, target="class:1", bundle=bundle, steps=[0.6])
    changed = np.abs(strip.frames[1] - strip.frames[0])[0] > 0
    assert 4 <= changed.sum() <= 0.55 * changed.size
    rows = np.nonzero(changed)[0]
    assert (rows < 8).mean() > 0.6  # the model reads the upper half
    assert strip.scores[1] > strip.scores[0]
    outside = ~changed
    assert np.array_equal(strip.frames[1][0][outside], strip.frames[0][0][outside])


def test_each_way_has_a_place_of_its_own_in_one_strip() -> None:
    bundle = local_bundle()
    strip = cf.explain(
        "translate", bundle.predictor, grey(110), target="class:1", bundle=bundle, steps=[-0.6, 0.6]
    )
    changed = [np.abs(frame - strip.frames[1])[0] > 0 for frame in strip.frames]
    assert not changed[1].any() and all(0 < one.mean() < 0.6 for one in (changed[0], changed[2]))
    assert strip.scores[0] < strip.scores[1] < strip.scores[2]


def test_the_other_class_is_asked_in_the_place_that_serves_it() -> None:
    """Class 0 rises where the condition falls."""
    bundle = local_bundle()
    strip = cf.explain("translate", bundle.predictor, grey(140), target="class:0", bundle=bundle, steps=[0.5])
    assert strip.scores[1] > strip.scores[0] and strip.frames[1].mean() < strip.frames[0].mean()


def test_the_smallest_place_with_nearly_the_greatest_effect_is_taken() -> None:
    effects = np.array([[0.2, -3.0, 5.0], [0.95, -1.0, 0.0], [1.0, -1.05, 0.0]])
    assert smallest_place(effects, 0.9).tolist() == [1, 1, 0]
    assert smallest_place(effects, 0.98).tolist() == [2, 1, 0]


def test_a_region_that_is_given_is_the_place() -> None:
    bundle = local_bundle()
    region = np.zeros((16, 16), dtype=bool)
    region[2:5, 3:13] = True
    strip = cf.explain(
        "translate", bundle.predictor, grey(110), target="class:1", bundle=bundle, steps=[0.6], region=region
    )
    assert np.array_equal(np.abs(strip.frames[1] - strip.frames[0])[0] > 0, region)


def test_a_corner_that_is_kept_leaves_a_place_and_not_the_whole_image() -> None:
    bundle = local_bundle()
    keep = np.zeros((16, 16), dtype=bool)
    keep[:2, :2] = True
    strip = cf.explain(
        "translate", bundle.predictor, grey(110), target="class:1", bundle=bundle, steps=[0.6], keep=keep
    )
    changed = np.abs(strip.frames[1] - strip.frames[0])[0] > 0
    assert changed.any() and changed.mean() < 0.6 and not changed[:2, :2].any()


@pytest.mark.parametrize("shape", [(16, 16), (12, 20), (8, 8, 8)])
def test_discs_have_their_diameter_and_lie_around_their_centre(shape: tuple[int, ...]) -> None:
    axes = len(shape)
    region = discs(torch.full((1, axes), 0.5), torch.tensor([0.5]), shape)[0, 0]
    for axis in range(axes):
        at = region.nonzero()[:, axis]
        assert int(at.min() + at.max()) == shape[axis] - 1
        assert abs(int(at.max() - at.min() + 1) - shape[axis] / 2) <= 1
    tried = places(shape, 0.4).flatten(1).mean(dim=1)
    assert len(tried) == 4**axes + 3**axes + 2**axes and tried[0] < tried[4**axes] < tried[-1] < 0.6
    random = random_discs(50, shape, 0.4, torch.Generator().manual_seed(0))
    assert (random.flatten(1).sum(dim=1) > 0).all() and random.mean() < 0.3


def test_a_disc_around_a_mask_holds_it_whole_and_no_more_than_it_must() -> None:
    mask = torch.zeros(40, 1, 32, 32)
    mask[:20, :, 3:9, 5:12] = 1
    mask[20:, :, 20:31, 20:22] = 1
    region = discs_around(mask > 0, torch.Generator().manual_seed(0))
    assert (region[mask > 0] == 1).all()
    middles = torch.stack([one[0].nonzero().float().mean(dim=0) for one in region[:20]])
    assert middles.std(dim=0).min() > 0.3  # the place is not told exactly
    assert region[:20].mean() < 6 * mask[:20].mean()


def training_of(place: float = 0.0, **changes: object) -> TranslatorTraining:
    rng = torch.Generator().manual_seed(1)
    levels = torch.linspace(0, 190, 80)[:, None, None, None]
    images = (torch.rand(80, 1, 16, 16, generator=rng) * 60 + levels).byte()

    def guide(x: Tensor) -> Tensor:
        return 5 * x[:, :, :8].mean(dim=(1, 2, 3))[:, None]

    config = TranslatorTrainerConfig(features="none", precision="fp32")
    settings: dict[str, object] = {"guide": guide, **changes}
    return TranslatorTraining(TranslatorConfig(**SMALL, place=place), config, images, **settings)


def test_an_addition_may_lie_anywhere_and_a_removal_at_the_finding() -> None:
    """The finding is a bright spot that the model looks for: occluding it says where it is."""
    rng = torch.Generator().manual_seed(0)
    images = (torch.rand(140, 1, 32, 32, generator=rng) * 40 + 60).byte()
    centres = torch.randint(7, 25, (140, 2), generator=rng)
    for image, (y, x) in zip(images[:70], centres.tolist(), strict=False):
        image[0, y - 2 : y + 3, x - 2 : x + 3] = 230

    def guide(x: Tensor) -> Tensor:
        return torch.relu(x - 0.4).mean(dim=(1, 2, 3))[:, None] * 50 + 0.01 * x[:, 0, 0, :1]

    scores = guide(images.float() / 127.5 - 1)
    local = LocalRegions(images, scores, guide, 0.4, torch.device("cpu"))
    rows, falls = torch.arange(70), torch.zeros(70, dtype=torch.bool)
    there = local.sample(rows, falls, rng)
    holds = there[rows, 0, centres[:70, 0], centres[:70, 1]]
    assert holds.mean() > 0.9 and there.mean() < 0.4
    assert (local.found[:70] >= 0).all() and (local.found[70:] < 0).all()
    for way, which in ((~falls, rows), (falls, rows + 70)):  # to add, and where there is nothing to remove
        anywhere = local.sample(which, way, rng)
        assert 0.02 < anywhere[rows, 0, centres[which, 0], centres[which, 1]].mean() < 0.5


def test_occlusion_takes_what_lies_around() -> None:
    images = torch.zeros(1, 1, 32, 32)
    images[..., 12:20, 12:20] = 1
    region = torch.zeros(1, 1, 32, 32)
    region[..., 10:22, 10:22] = 1
    assert occluded(images, region).abs().max() < 1e-6
    edge = torch.zeros_like(region)
    edge[..., :4] = 1
    assert torch.equal(occluded(images, edge)[..., 4:], images[..., 4:])


def test_a_step_of_a_local_finding() -> None:
    training = training_of(place=0.4)
    assert training.local is not None and training_of().local is None
    for _ in range(2):
        training.step()
    assert np.isfinite(list(training.figures.values())).all()


def test_an_ally_counts_in_units_of_the_model() -> None:
    def ally(x: Tensor) -> Tensor:
        return 2 + 0.5 * x.mean(dim=(1, 2, 3))[:, None]

    training = training_of(allies=[ally])
    images = torch.linspace(-0.8, 0.8, 6).view(6, 1, 1, 1).expand(6, 1, 16, 16)
    model, other = training._guided(images)
    torch.testing.assert_close(model, other, atol=0.35, rtol=0)
    assert float((other[-1] - other[0]) / (model[-1] - model[0])) == pytest.approx(1.0, abs=0.05)
    alone = training_of()
    alone.step(), training.step()
    assert alone.figures["guide"] != training.figures["guide"]


def test_a_run_with_other_allies_is_not_continued() -> None:
    def ally(x: Tensor) -> Tensor:
        return 0.5 * x.mean(dim=(1, 2, 3))[:, None]

    training = training_of(allies=[ally])
    with pytest.raises(InputError, match="allies"):
        training_of().restore(training.state())
    again = training_of(allies=[ally])
    again.restore(training.state())


def test_an_ally_that_says_the_opposite_is_refused() -> None:
    scores = torch.linspace(-1, 1, 9)[:, None]
    gain, offset = in_units_of(scores, 3 - 0.5 * scores + scores)
    assert (float(gain), float(offset)) == pytest.approx((0.5, 3.0))
    with pytest.raises(InputError, match="rise with"):
        in_units_of(scores, -scores)


def test_what_replaces_a_finding_lies_within_the_values_around_it() -> None:
    """The network painted holes of air where nodules had been."""
    made = Translator(TranslatorConfig(**SMALL, place=0.4)).eval().requires_grad_(False)
    made.out.bias[:] = -20.0  # as dark as can be, everywhere
    made.out.bias[4:] = 20.0  # the mask is open
    images = torch.full((2, 1, 16, 16), -0.8)
    images[..., 6:10, 6:10] = 0.7
    images[1, :, :, :2] = -0.9  # darker already, and inside the region
    region = discs(torch.full((2, 2), 0.5), torch.tensor([0.8, 0.8]), (16, 16))
    now = torch.full((2,), 2.0)
    removed = made(images, now, torch.full((2,), -2.0), region=region)
    inside = region.bool()
    assert removed[inside].min() >= -0.9 and (removed[0][inside[0]] >= -0.8 - 1e-6).all()
    assert removed[0, 0, 7:9, 7:9].max() < -0.7
    added = made(images, -now, now, region=region)
    assert added[inside].min() == -1.0  # an addition has no such limit
    low, high = values_around(images, torch.ones_like(region))
    assert (low == -1).all() and (high == 1).all()


def test_what_lies_beyond_a_limit_learns_to_come_back() -> None:
    """A network that brightened what it should remove was held at the image, where no gradient led back: it
    removed nothing for the rest of its training."""
    made = Translator(TranslatorConfig(**SMALL, place=0.4)).eval()
    with torch.no_grad():
        made.out.bias[:4] = 0.5  # brighter, everywhere
        made.out.bias[4:] = 20.0  # the mask is open
    images = torch.full((1, 1, 16, 16), -0.8)
    images[..., 6:10, 6:10] = 0.2
    region = discs(torch.full((1, 2), 0.5), torch.tensor([0.8]), (16, 16))
    removed = made(images, torch.tensor([2.0]), torch.tensor([-2.0]), region=region)
    assert torch.allclose(removed, images, atol=1e-6)  # within its limits it is the image
    removed[0, 0, 7:9, 7:9].sum().backward()
    assert made.out.bias.grad is not None and float(made.out.bias.grad[:4].abs().sum()) > 1


def test_a_local_finding_is_drawn_whole() -> None:
    """A translator that overshoots reached its goal with a faint shadow, which no second model saw."""
    bundle = local_bundle()
    strip = cf.explain("translate", bundle.predictor, grey(120), target="class:1", bundle=bundle, goal=0.55)
    assert strip.outcome == "reached"
    made = bundle.translator
    search_goal = float(np.log(0.55 / 0.45))
    step = (search_goal - strip.scores[0]) * 0.5  # what the toy draws when asked for the goal itself
    change = np.abs(strip.frames[-1] - strip.frames[0]).max() / 127.5
    assert made is not None and change >= step - 0.02
