"""Change only here, leave unchanged: in Python, on the command line, and in a study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

import contrafact as cf
from bright_half import bright_bundle, grey
from contrafact.api.regions import without
from contrafact.cli import main
from contrafact.core import Image, InputError
from contrafact.io import open_run
from contrafact.render.outcome import heading
from contrafact.study.config import read_study
from contrafact.study.inputs import cases_of, region_of


def mask(rows: slice, columns: slice = slice(None), side: int = 16) -> Image:
    values = np.zeros((1, side, side), dtype=np.float32)
    values[0, rows, columns] = 1
    return Image(values)


def changed(strip: cf.Counterfactual) -> np.ndarray:
    return np.abs(strip.frames - strip.image[None]).max(axis=(0, 1)) > 0


@pytest.mark.parametrize("method", ["translate", "counterfactual"])
def test_what_is_kept_does_not_change(method: str) -> None:
    bundle, keep = bright_bundle(), mask(slice(0, 5))
    strip = cf.explain(method, bundle.predictor, grey(80.0), target="class:1", bundle=bundle, keep=keep)
    assert changed(strip)[5:8].all() and not changed(strip)[:5].any()
    both = cf.explain(
        method,
        bundle.predictor,
        grey(80.0),
        target="class:1",
        bundle=bundle,
        keep=keep,
        region=mask(slice(0, 16), slice(4, 9)),
    )
    inside = np.zeros((16, 16), dtype=bool)
    inside[5:8, 4:9] = True
    np.testing.assert_array_equal(changed(both), inside)


def test_a_heatmap_is_empty_where_something_is_kept() -> None:
    bundle = bright_bundle()
    heat = cf.explain("gradient", bundle.predictor, grey(80.0), target="class:1", keep=mask(slice(0, 5)))
    assert not heat.values[:5].any() and heat.values[5:8].any()


def test_a_label_map_keeps_its_labels_outside_what_is_kept() -> None:
    labels = Image(np.arange(16, dtype=np.float32).reshape(1, 4, 4) % 3, label_map=True)
    left = without(labels, mask(slice(0, 2), side=4))
    assert left is not None and left.label_map
    assert not left.values[0, :2].any() and np.array_equal(left.values[0, 2:], labels.values[0, 2:])
    plain = Image(labels.values)  # as a file gives it
    rest = without(plain, Image((labels.values == 2).astype(np.float32)))
    assert rest is not None and rest.label_map and set(np.unique(rest.values)) == {0, 1}
    assert without(labels, None) is labels and without(None, None) is None


@pytest.mark.parametrize(
    ("region", "keep", "words"),
    [
        (None, mask(slice(0, 16)), "covers it all"),
        (mask(slice(0, 4)), mask(slice(0, 9)), "covers it all"),
        (mask(slice(0, 4)), mask(slice(0, 4), side=8), "different grids"),
        (None, Image(np.arange(256, dtype=np.float32).reshape(1, 16, 16) % 3), "no class"),
        (None, Image(np.zeros((3, 16, 16), dtype=np.float32)), "one channel"),
    ],
)
def test_masks_that_leave_nothing_or_do_not_fit_are_refused(
    region: Image | None, keep: Image, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        without(region, keep)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    values = np.round(grey(80.0).values[0]).astype(np.uint8)
    Picture.fromarray(values).save(tmp_path / "x.png")
    for name, rows in (("top", slice(0, 5)), ("lower", slice(9, 16))):
        Picture.fromarray((mask(rows).values[0] * 255).astype(np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A held-out phantom as a file, and its values."""
    from contrafact.phantoms import draw_factors, knee_phantom

    rng = np.random.default_rng(3)
    image = knee_phantom(draw_factors(rng), rng).image
    path = tmp_path_factory.mktemp("phantom") / "p.png"
    Picture.fromarray(np.round(image.values[0]).astype(np.uint8)).save(path)
    return path, image.values


@pytest.mark.parametrize(("flag", "inside"), [("--only", True), ("--keep", False), ("--region", True)])
def test_the_command_line_changes_only_where_it_may(
    phantoms: tuple[Path, np.ndarray], tmp_path: Path, flag: str, inside: bool
) -> None:
    path, values = phantoms
    shown = np.zeros(values.shape[1:], dtype=np.uint8)
    shown[: shown.shape[0] // 2] = 255
    Picture.fromarray(shown).save(tmp_path / "mask.png")
    words = ["explain", str(path), "--bundle", "phantom", "--methods", "latent-walk", "--target", "class:1"]
    words += [flag, str(tmp_path / "mask.png"), "--out", str(tmp_path / "run"), "--no-checks"]
    assert main(words) == 0
    run = open_run(tmp_path / "run")
    arrays = run.arrays(run.rows()[0])
    moved = np.abs(arrays["frames"] - arrays["frames"][int(run.rows()[0]["origin"])]).max(axis=(0, 1)) > 0
    half = moved.shape[0] // 2
    assert moved[:half].any() == inside and moved[half:].any() != inside
    assert run.rows()[0]["record"]["details"]["region"] == pytest.approx(0.5)


def test_a_goal_that_a_region_cannot_reach_is_an_answer() -> None:
    """The model reads the upper half: nothing that changes in the lower one can reach the goal."""
    bundle = bright_bundle()
    strip = cf.explain(
        "translate", bundle.predictor, grey(80.0), target="class:1", bundle=bundle, region=mask(slice(9, 16))
    )
    row = {
        "outcome": strip.outcome,
        "origin": strip.origin,
        "scores": strip.scores.tolist(),
        "requested": strip.requested.tolist(),
        "record": {"target": "class:1", "method": "translate", "details": dict(strip.record.details)},
    }
    assert heading(row).startswith("No counterfactual was found")
    assert ", within 44 % of the image (class:1: " in heading(row)
    row["record"]["details"] = {}
    assert "within" not in heading(row).replace("within the plausibility", "")


def test_a_study_keeps_what_it_names(folder: Path) -> None:
    text = 'images = ["x.png"]\nout = "run"\ntargets = ["class:1"]\nkeep = "top.png"\n'
    text += '[model]\npath = "m.json"\n[methods.gradient]\n'
    (folder / "study.toml").write_text(text)
    config = read_study(folder / "study.toml")
    (case,) = cases_of(config, folder)
    region = region_of(config, folder, case.path, frozenset())
    assert region is not None
    assert not region.values[0, :5].any() and region.values[0, 5:].all()
