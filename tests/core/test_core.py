from __future__ import annotations

import copy
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrafact.core import (
    EXPLAINERS,
    METRICS,
    ContrafactError,
    Counterfactual,
    Grid,
    Heatmap,
    Image,
    InputError,
    Question,
    Record,
    Registry,
    configure,
    explain,
    nearest,
    to_toml,
)
from contrafact.core import power as power_
from contrafact.core.read_stored import read_result

RECORD = Record(method="m", parameters={}, target="t", model="x", image="i")


def test_grids_are_equal_up_to_a_thousandth_of_a_millimetre() -> None:
    a = Grid((4, 5), spacing_mm=(0.5, 0.25))
    assert a == Grid((4, 5), spacing_mm=(0.5004, 0.25))
    assert a != Grid((4, 5), spacing_mm=(0.51, 0.25))
    assert a != Grid((5, 4), spacing_mm=(0.5, 0.25))
    assert a.spacing_mm == (0.5, 0.25)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_a_resized_grid_covers_the_same_field_of_view(h: int, w: int, h2: int, w2: int) -> None:
    a = Grid((h, w), spacing_mm=(0.7, 1.3))
    b = a.resized((h2, w2))

    def corners(grid: Grid) -> np.ndarray:
        n, m = grid.shape
        return np.array([grid.affine @ [i, j, 0, 1] for i in (-0.5, n - 0.5) for j in (-0.5, m - 0.5)])

    np.testing.assert_allclose(corners(a), corners(b), atol=1e-9)


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (1, 2, 3, 4)])
def test_a_grid_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="grid shape must be"):
        Grid(shape)


def test_an_image_without_a_grid_has_unit_spacing() -> None:
    image = Image(np.zeros((1, 3, 4)))
    assert image.grid == Grid((3, 4))
    assert image.values.dtype == np.float32


def test_an_image_refuses_nan_and_says_how_many() -> None:
    values = np.zeros((1, 3, 4))
    values[0, 1] = np.nan
    with pytest.raises(InputError, match="got 4 NaN or infinite of 12"):
        Image(values)


def test_an_image_refuses_a_grid_of_another_shape() -> None:
    with pytest.raises(InputError, match=r"must be \(C, 3, 5\)"):
        Image(np.zeros((1, 3, 4)), Grid((3, 5)))


def test_rescaling_maps_the_window_and_says_so() -> None:
    image = Image(np.array([[[0.0, 500.0, 1000.0]]]), window=(0, 1000)).rescaled(0, 255)
    np.testing.assert_allclose(image.values[0, 0], [0, 127.5, 255])
    assert image.about["rescaled_from"] == [0, 1000]


def test_a_heatmap_must_be_finite_and_on_its_grid() -> None:
    with pytest.raises(ContrafactError, match="must be"):
        Heatmap(values=np.zeros((2, 2)), grid=Grid((3, 3)), record=RECORD)
    with pytest.raises(ContrafactError, match="NaN"):
        Heatmap(values=np.full((3, 3), np.nan), grid=Grid((3, 3)), record=RECORD)


def strip(**changes: Any) -> Counterfactual:
    values: dict[str, Any] = {
        "frames": np.arange(3.0).reshape(3, 1, 1, 1) * np.ones((3, 1, 2, 2)),
        "requested": np.array([0.0, 1.0, 2.0]),
        "scores": np.array([0.0, 1.0, 2.0]),
        "latent_distance": np.array([0.0, 0.5, 1.0]),
        "origin": 0,
        "reconstruction_error": 0.1,
        "above_tolerance": False,
        "outcome": "reached",
        "goal": 2.0,
        "reconstruction": np.zeros((1, 2, 2)),
        "grid": Grid((2, 2)),
    }
    return Counterfactual(**{**values, **changes})


def test_a_strip_knows_its_image_and_its_change() -> None:
    np.testing.assert_array_equal(strip().image, np.zeros((1, 2, 2)))
    np.testing.assert_array_equal(strip().change, np.full((1, 2, 2), 2.0))
    np.testing.assert_array_equal(strip(origin=2).change, np.full((1, 2, 2), -2.0))
    np.testing.assert_array_equal(strip(origin=1).change, np.full((1, 2, 2), 2.0))


@pytest.mark.parametrize(
    ("scores", "origin", "target", "end"),
    [
        ([-1.0, 0.5, 2.0], 0, "class:1", 2),
        ([-1.0, 0.5, 2.0], 2, "class:1", 0),
        ([1.0, -0.5, -2.0], 1, "class:1", 0),  # only the first crosses the threshold
        ([-1.0, -0.5, 2.0], 1, "margin:1,0", 2),
        ([1.0, -0.5, 2.0], 1, "class:1", 2),  # both cross
        ([-1.0, -0.5, -2.0], 1, "class:1", 2),  # neither does
        ([1.0, -0.5, -2.0], 1, "value:0", 2),  # no threshold
    ],
)
def test_the_counterfactual_is_the_end_across_the_threshold_or_else_the_last(
    scores: list[float], origin: int, target: str, end: int
) -> None:
    record = dataclasses.replace(RECORD, target=target)
    assert strip(scores=np.array(scores), origin=origin, record=record).end == end


@pytest.mark.parametrize(
    "changes",
    [{"requested": np.zeros(2)}, {"grid": Grid((3, 3))}, {"scores": np.full(3, np.nan)}, {"outcome": "bored"}],
)
def test_a_strip_refuses_what_does_not_fit(changes: dict[str, Any]) -> None:
    with pytest.raises(ContrafactError):
        strip(**changes)


OLD = {
    "steps": "requested",
    "lengths": "latent_distance",
    "drift": "reconstruction_error",
    "drifted": "above_tolerance",
    "stopped": "outcome",
}


@pytest.mark.parametrize(("old", "new"), OLD.items())
def test_old_names_of_a_strips_fields_work_with_a_warning(old: str, new: str) -> None:
    made = strip()
    fields = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
    with pytest.warns(DeprecationWarning, match=f"Counterfactual.{old} is called Counterfactual.{new} now"):
        again = Counterfactual(**{old if name == new else name: value for name, value in fields.items()})
    with pytest.warns(DeprecationWarning, match=f"Counterfactual.{old} is called Counterfactual.{new} now"):
        assert getattr(again, old) is fields[new]
    other = {
        "steps": np.arange(len(made.scores)) + 7.0,
        "stopped": "search",
        "drifted": not made.above_tolerance,
    }
    value = other.get(old, fields[new] + 1 if old in ("lengths", "drift") else None)
    with pytest.warns(DeprecationWarning):
        assert getattr(dataclasses.replace(made, **{old: value}), new) is value
    with pytest.raises(AttributeError, match="no attribute 'stops'"):
        again.stops  # noqa: B018


def test_a_file_with_old_names_is_read(tmp_path: Path) -> None:
    with np.load(strip().save(tmp_path / "now.npz")) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(str(arrays.pop("about")))
    before = {new: old for old, new in OLD.items()}
    header, arrays = ({before.get(k, k): v for k, v in part.items()} for part in (header, arrays))
    np.savez(tmp_path / "old.npz", about=np.array(json.dumps(header)), **arrays)
    again = read_result(tmp_path / "old.npz")
    for name in OLD.values():
        np.testing.assert_array_equal(getattr(again, name), getattr(strip(), name))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    registry = Registry("explainer", "contrafact.none")

    @registry.register("occlusion", aliases=("hide",))
    @dataclass(frozen=True)
    class One:
        box: int = 1

    assert registry.get("hide") is One
    assert registry.make("hide", box=3) == One(box=3)
    assert registry.name_of(One()) == "occlusion"
    with pytest.raises(InputError, match=r"got 'oclusion'; did you mean 'occlusion'\? \(there are occlusion\)"):
        registry.get("oclusion")
    with pytest.raises(InputError, match="did you mean 'box'"):
        registry.make("occlusion", bx=1)
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("occlusion")(dict)
    assert nearest("zzz", ["occlusion"]) == ""


def test_a_registry_of_many_names_says_how_to_list_them() -> None:
    with pytest.raises(InputError) as told:
        EXPLAINERS.get("gradcma")
    expected = "expected the name of an explainer; got 'gradcma'; did you mean 'gradcam'? "
    assert str(told.value) == expected + "(contrafact list explainers prints all)"
    with pytest.raises(InputError, match=r"did you mean 'deletion'\? \(contrafact list metrics prints"):
        METRICS.get("delation")


def test_what_is_said_goes_before_what_an_alias_implies() -> None:
    registry = Registry("explainer", "contrafact.none")

    @registry.register("occlusion")
    @dataclass(frozen=True)
    class One:
        box: int = 1
        stride: int = 1

    registry.alias("coarse", "occlusion", box=8, stride=4)
    assert registry.make("coarse") == One(box=8, stride=4)
    assert registry.make("coarse", box=3) == One(box=3, stride=4)


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    more: dict[str, Inner] = field(default_factory=dict)
    limit: float | None = None


def test_configuration_from_tables() -> None:
    made = configure(Outer, {"name": "a", "inner": {"rate": 1, "sizes": [1, 2]}, "more": {"x": {}}, "limit": 2})
    assert made == Outer("a", Inner(1.0, (1, 2)), {"x": Inner()}, 2.0)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "needs 'name'"),
        ({"name": "a", "iner": {}}, "did you mean 'inner'"),
        ({"name": "a", "inner": {"rat": 1}}, "did you mean 'rate'"),
        ({"name": 3}, "name must be str; got 3"),
        ({"name": "a", "inner": {"sizes": [1, "x"]}}, "sizes must be int"),
        ({"name": "a", "inner": 3}, "must be a table"),
        ({"name": "a", "limit": "x"}, "limit must be"),
    ],
)
def test_configuration_refuses_in_one_line(table: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        configure(Outer, table)
    assert "\n" not in str(caught.value)


@dataclass(frozen=True)
class MeanMap:
    """Gives every voxel the target; counts what it was shown."""

    fail: bool = False

    def __call__(self, question: Question, rng: np.random.Generator) -> np.ndarray:
        if self.fail:
            raise RuntimeError("boom")
        values = question.target(question.predictor(question.images))
        return np.asarray(values)[:, None, None] * np.ones(question.images.shape[2:]) + rng.normal() * 0


class Toy:
    """A predictor that notes whether it was frozen."""

    def __init__(self) -> None:
        self.depth, self.seen = 0, []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.seen.append((self.depth, len(images)))
        return images.reshape(len(images), -1).mean(axis=1)

    def frozen(self) -> Any:
        import contextlib

        @contextlib.contextmanager
        def inside() -> Any:
            self.depth += 1
            try:
                yield
            finally:
                self.depth -= 1

        return inside()


def test_explain_batches_by_grid_keeps_the_order_and_stamps() -> None:
    sizes = [3, 3, 3, 4, 3]
    images = [Image(np.full((1, n, n), i)) for i, n in enumerate(sizes)]
    toy = Toy()
    heats = explain(MeanMap(), toy, images, target=lambda outputs: outputs, batch=2)
    assert [float(h.values.mean()) for h in heats] == [0, 1, 2, 3, 4]
    assert toy.seen == [(1, 2), (1, 1), (1, 1), (1, 1)]
    record = heats[0].record
    assert record.method == "MeanMap"
    assert record.forward_passes == 1
    assert record.image == images[0].digest != images[1].digest
    assert json.loads(json.dumps(dataclasses.asdict(record)))["parameters"] == {
        "name": "MeanMap",
        "fail": False,
    }


def test_whether_a_map_is_empty_is_judged_inside_the_region_alone() -> None:
    region = np.zeros((4, 4), dtype=bool)
    region[:2, :2] = True
    (heat,) = explain(MeanMap(), Toy(), [Image(np.ones((1, 4, 4)))], target=lambda o: o, region=region)
    assert heat.record.notes == {"empty_constant": 1.0}
    assert heat.values[region].tolist() == [1.0] * 4
    assert not heat.values[~region].any()


def test_explain_leaves_the_predictor_as_it_was_also_after_an_error() -> None:
    toy = Toy()
    with pytest.raises(RuntimeError, match="boom"):
        explain(MeanMap(fail=True), toy, [Image(np.zeros((1, 2, 2)))], target=lambda o: o)
    assert toy.depth == 0


def test_explain_refuses_no_images() -> None:
    with pytest.raises(InputError, match="at least one image"):
        explain(MeanMap(), Toy(), [], target=lambda o: o)


def test_an_image_goes_to_another_process_whole() -> None:
    image = Image(np.ones((1, 3, 4)), source="a.png", about={"factors": {"x": 1.0}}, window=(0, 2))
    again = copy.deepcopy(image)
    assert again.grid == image.grid
    assert (again.source, again.window, dict(again.about)) == (image.source, image.window, dict(image.about))
    np.testing.assert_array_equal(again.values, image.values)


def test_a_part_written_as_a_table_becomes_what_stands_there_by_default() -> None:
    from contrafact.counterfactual import Refinement

    walk = EXPLAINERS.make("latent-walk", refinement={"steps": 5})
    assert walk.refinement == Refinement(steps=5)
    with pytest.raises(InputError, match="unknown key 'step'.*'steps'"):
        EXPLAINERS.make("latent-walk", refinement={"step": 5})


def test_a_table_is_whole_lines_of_toml() -> None:
    assert to_toml({"a": 1}) == "a = 1\n"
    assert to_toml({"b": {"c": "x"}, "a": True}) == 'a = true\n\n[b]\nc = "x"\n'
    assert to_toml({"b": {"d": {"e": 2}}}) == "[b.d]\ne = 2\n"


def test_seconds_of_a_record_have_four_digits() -> None:
    images = [Image(np.full((1, 3, 3), n)) for n in range(5)]
    heats = explain(MeanMap(), Toy(), images, target=lambda outputs: outputs, batch=1)
    assert [h.record.seconds for h in heats] == [round(h.record.seconds, 4) for h in heats]


def test_a_plan_of_up_to_a_million_judgements_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power_, "power", lambda judged, *_, **__: float(judged >= 600_000))
    assert power_.judgements_needed(0.5011) == 600_000
    monkeypatch.setattr(power_, "power", lambda judged, *_, **__: float(judged > 1 << 20))
    with pytest.raises(ValueError, match="2\\^20 judgements"):
        power_.judgements_needed(0.5012)
