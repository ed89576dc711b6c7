"""What a live worker offers and answers, in this process, for toys whose answers are closed forms."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from bright_half import bright_bundle, grey
from contrafact.core import EXPLAINERS, ContrafactError, Counterfactual, Image, InputError
from contrafact.counterfactual.region import check_unchanged
from contrafact.io import stored_form
from contrafact.models import BlackBox
from contrafact.render.boxes import Box
from contrafact.render.outcome import heading
from contrafact.viewer.live.answers import Asking
from contrafact.viewer.live.tasks import Task
from four_pixels import image, two_scores
from two_findings import four, two_findings

WORDS: list[tuple[str, int, int | None]] = []


def say(words: str, count: int, of: int | None) -> None:
    WORDS.append((words, count, of))


def task(kind: str, model: Any, shown: Image, **more: Any) -> Task:
    return Task(kind=kind, case="a", image=shown, model=model.digest, **{"target": "class:1", **more})


def test_it_offers_what_the_bundle_has() -> None:
    bundle, model = two_scores()
    asking = Asking([bundle])
    about = asking(task("about", model, image((-1.0, 0.5, 0, 0))), say)[0]
    assert (about["bundle"], about["model"], about["why_not"]) == ("toy", "main", "")
    assert [t["text"] for t in about["targets"]] == ["class:0", "class:1"]
    for target, start in zip(about["targets"], (3.0, -3.0), strict=True):
        assert target["strips"] == ["latent-walk"] and target["holds"] == ["other/class:1"]
        assert target["start"] == pytest.approx(start, abs=1e-4) and target["odds"]
        assert target["span"] == pytest.approx(7.0, abs=0.11)
    bright = Image(np.full((1, 2, 2), 900, dtype=np.float32), window=(0, 255))
    about = asking(task("about", model, bright), say)[0]
    assert "takes values from 0 to 255" in about["why_not"]
    assert all(target["strips"] == [] for target in about["targets"]) and about["maps"]
    box = BlackBox(lambda x: np.zeros((len(x), 2)), classes=["no", "yes"], digest="box")
    other = dataclasses.replace(bundle, predictor=box, predictors={"box": box})
    about = Asking([other])(task("about", box, image((0.0, 0, 0, 0))), say)[0]
    assert about["maps"] == ["occlusion"] and about["targets"][0]["strips"] == []
    with pytest.raises(InputError, match="a model of bundle toy; got another model"):
        asking(task("about", box, image((0.0, 0, 0, 0))), say)


def test_moves_are_measured_and_what_is_held_is_told() -> None:
    bundle, model = two_scores()
    asking = Asking([bundle])
    shown = image((-1.0, 0.5, 0, 0))
    WORDS.clear()
    found, latents = asking(task("find", model, shown), say)
    assert found["start"] == pytest.approx(-3, abs=1e-4) and len(latents) == 1
    assert WORDS[0][1:] == (0, 12)
    for kind in ("move", "reach"):
        moved = asking(task(kind, model, shown, amount=2.0, hold=("other/class:1",)), say)[0]
        assert moved["score"] == pytest.approx(-1, abs=0.15)
        [held] = moved["held"]
        assert held["from"] == pytest.approx(0.5, abs=1e-4) and abs(held["to"] - held["from"]) < 0.03
    assert len(asking.found) == 1  # found once
    again = Asking([bundle])  # a worker begun anew is given what was found
    WORDS.clear()
    again(task("move", model, shown, amount=1.0, latents=latents), say)
    assert max((count for _, count, _ in WORDS), default=0) < 10


def test_an_explanation_comes_with_its_words() -> None:
    bundle, model = two_scores()
    asking = Asking([bundle])
    shown = image((-1.0, 0.5, 0, 0))
    walk = {"method": "latent-walk", "hold": ("other/class:1",)}
    found = asking(task("explain", model, shown, amount=2.0, **walk), say)[0]
    assert isinstance(found.result, Counterfactual) and found.result.outcome == "steps"
    assert found.result.scores[-1] == pytest.approx(-1, abs=0.15)
    assert found.extra["case"] == "a" and found.extra["trust"] and found.extra["answers"]
    assert found.extra["held"] == found.held and found.held[0]["name"] == "other/class:1"
    found = asking(task("explain", model, shown, amount=0.9, by="reached", **walk), say)[0]
    assert found.result.outcome == "reached"
    with pytest.raises(InputError, match="other than 0"):
        asking(task("explain", model, shown, **walk), say)


@pytest.mark.parametrize(("by", "amount"), [("reached", 0.9), ("asked", 3.0)])
def test_findings_of_a_medxgan_are_asked_in_both_ways(by: str, amount: float) -> None:
    bundle = two_findings()
    asking, shown = Asking([bundle]), four(-0.5, -1.0, 0.2, 0.0)
    about = asking(task("about", bundle.predictor, shown), say)[0]
    assert [t["strips"] for t in about["targets"]] == [["medxgan"]] * 2
    assert about["targets"][0]["holds"] == []
    asked = task("explain", bundle.predictor, shown, method="medxgan", target="class:0", by=by, amount=amount)
    strip = asking(asked, say)[0].result
    goal = np.log(9) if by == "reached" else -1.5 + 3
    assert strip.goal == pytest.approx(goal, abs=1e-3) and strip.outcome == "reached"


@pytest.mark.parametrize(("by", "amount"), [("reached", 0.9), ("asked", 3.0)])
def test_a_translator_is_asked_in_both_ways_and_needs_no_latent(by: str, amount: float) -> None:
    bundle = bright_bundle()
    asking, shown = Asking([bundle]), grey(100)
    about = asking(task("about", bundle.predictor, shown), say)[0]
    strips = {target["text"]: target["strips"] for target in about["targets"]}
    assert about["why_not"] == ""
    assert strips == {"class:0": ["translate"], "class:1": ["translate"]}  # of two classes, either
    assert about["methods"]["translate"] == {"slides": False, "holds": False, "latent": False}
    found, latents = asking(
        task("explain", bundle.predictor, shown, method="translate", by=by, amount=amount), say
    )
    assert not latents
    assert found.result.record.method == "translate"
    assert found.extra["generator_name"] == "bright (Brighter)"
    strip = found.result
    if by == "asked":
        assert strip.outcome == "steps"
        assert strip.requested[-1] == pytest.approx(3.0)
    else:
        assert strip.outcome == "reached"
        assert strip.scores[-1] >= np.log(9) - 1e-3


def test_what_a_page_offers_follows_from_the_attributes_of_the_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, model = two_scores()

    def ask() -> Any:
        return Asking([bundle])(task("about", model, image((-1.0, 0.5, 0, 0))), say)[0]

    before = ask()
    able = {"slides": True, "holds": True, "latent": True}
    assert before["methods"]["latent-walk"] == able
    assert set(before["maps"]) < set(before["methods"])
    monkeypatch.setattr(EXPLAINERS.get("rise"), "live", True, raising=False)
    monkeypatch.setattr(EXPLAINERS.get("latent-walk"), "live", False)
    after = ask()
    assert set(after["maps"]) - set(before["maps"]) == {"rise"}
    assert all(target["strips"] == [] for target in after["targets"])


@pytest.mark.parametrize("mode", ["only", "keep"])
def test_outside_a_box_no_pixel_changes_and_what_cannot_be_is_told(mode: str) -> None:
    bundle, shown = bright_bundle(), grey(100)
    asking = Asking([bundle])
    box = Box(mode=mode, columns=(2, 9), rows=(4, 12))
    asked = task("explain", bundle.predictor, shown, method="translate", by="reached", amount=0.9, box=box)
    found = asking(asked, say)[0]
    may = box.mask(shown.grid)
    moved = (found.result.frames != found.result.image[None]).any(axis=(0, 1))
    assert moved.any() and not moved[~may].any()
    assert found.extra["box"] == {**box.stored(), "exact": True}
    # The model looks at the upper half alone: a change below it moves nothing.
    below = dataclasses.replace(asked, box=Box(mode="only", columns=(0, 15), rows=(10, 14)))
    found = asking(below, say)[0]
    row, _ = stored_form(shown, found.result, **found.extra)
    assert heading(row).startswith("Not possible in this region: the prediction does not respond")
    far = dataclasses.replace(found.result, scores=found.result.scores.copy(), outcome="search")
    far.scores[-1] = -far.scores[0]
    row, _ = stored_form(shown, far, **found.extra)
    assert heading(row).startswith("Possible in this region in part: the prediction flips, but the search")
    small = dataclasses.replace(asked, box=Box(mode="keep", columns=(0, 15), rows=(0, 14)))
    row, _ = stored_form(shown, (found := asking(small, say)[0]).result, **found.extra)
    assert heading(row).startswith("Not possible with this box unchanged: ")


@pytest.mark.parametrize("kind", ["move", "reach"])
def test_a_frame_while_dragging_keeps_to_the_box(kind: str) -> None:
    bundle, model = two_scores()
    asking, shown = Asking([bundle]), image((-1.0, 0.5, 0, 0))
    asking(task("find", model, shown), say)
    box = Box(mode="only", columns=(0, 0), rows=(0, 0))
    frames = asking(task(kind, model, shown, amount=1.0, box=box), say)[0]["arrays"]["frames"]
    may = box.mask(shown.grid)
    free = asking(task(kind, model, shown, amount=1.0), say)[0]["arrays"]["frames"]
    still = asking(task(kind, model, shown, amount=0.0, box=box), say)[0]["arrays"]["frames"]
    assert (frames != still)[0, 0][may].all() and not (frames != still)[0, 0][~may].any()
    assert (free != still)[0, 0][~may].any()  # the box is no part of what was found before


def test_a_method_that_leaves_the_box_is_refused() -> None:
    bundle, shown = bright_bundle(), grey(100)
    found = Asking([bundle])(
        task("explain", bundle.predictor, shown, method="translate", by="reached", amount=0.9), say
    )[0]
    with pytest.raises(ContrafactError, match="translate changed [0-9]+ pixels there"):
        check_unchanged(found.result, Box(mode="only", columns=(2, 9), rows=(4, 12)).mask(shown.grid))
