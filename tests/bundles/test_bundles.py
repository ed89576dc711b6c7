"""The bundles that ship: complete, small, documented, and as good on real patients as they say."""

from __future__ import annotations

import copy
import json
import shutil
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import contrafact as cf
from contrafact.bundles import list_bundles, save_bundle, store
from contrafact.bundles.training_images import read_training_images
from contrafact.cli import main
from contrafact.core import Image, InputError
from contrafact.core.intervals import wilson
from contrafact.counterfactual import Bundle
from contrafact.io import read_image
from contrafact.report.text import bundle_cards
from contrafact.viewer.live.answers import load as load_live
from contrafact.viewer.live.tasks import LiveSetting
from experiments import data, nodule_windows
from experiments.evaluate.bundle import Table
from finding_bundle import finding_bundle

NAMES = sorted(list_bundles())
PAGES = Path(__file__).parents[2] / "docs" / "results"


def folder_of(name: str, folder: Path) -> Path:
    """A copy of a shipped bundle, or the one of the family that no shipped bundle has."""
    return finding_bundle(folder) if name == "finding" else Path(shutil.copytree(list_bundles()[name], folder))


def drawn(bundle: Bundle, count: int = 6) -> list[Image]:
    """Images of the bundle's generator at the size of its engine; of a bundle without one, soft noise."""
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        if bundle.generator is None:
            channels, *shape = bundle.image_shape
            values = 255 * torch.rand(count, channels, *(8,) * len(shape), generator=rng)
            mode = "bilinear" if len(shape) == 2 else "trilinear"
            values = torch.nn.functional.interpolate(values, tuple(shape), mode=mode)
        else:
            near = {} if bundle.findings else {"psi": 0.7}
            w = bundle.generator.sample(count, rng, **near)
            values = bundle.to_units(bundle.generator.decode(w).clamp(-1, 1))
            values = bundle.to_units(bundle.to_canvas(values, bundle.image_shape))
    return [Image(v, window=bundle.window, source="synthetic") for v in values.numpy()]


def test_all_bundles_together_are_under_40_mb() -> None:
    size = sum(f.stat().st_size for p in list_bundles().values() for f in p.rglob("*"))
    assert size < 40e6


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_has_a_card_with_data_licence_limits_and_use(name: str) -> None:
    text = (list_bundles()[name] / "MODEL_CARD.md").read_text()
    for word in ("Data.", "Licence.", "Limits.", "Intended use.", "not for diagnosis"):
        assert word in text
    assert {"about", "data", "licence", "limits"} <= set(cf.load_bundle(name).card)


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_holds_nothing_but_safetensors_json_and_its_card(name: str) -> None:
    kinds = {p.suffix for p in list_bundles()[name].iterdir()}
    assert kinds == {".json", ".safetensors", ".md"}


@pytest.mark.parametrize("name", [*NAMES, "finding"])
@pytest.mark.slow
def test_a_bundle_predicts_and_walks_what_it_drew_itself(name: str, tmp_path: Path) -> None:
    bundle = cf.load_bundle(folder_of(name, tmp_path / name))
    images = drawn(bundle)
    shares = bundle.predict(images)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(images)))
    method = bundle.own_method
    strips = cf.explain(method, bundle.predictor, images, target="class:1", bundle=bundle)
    for strip, image in zip(strips, images, strict=True):
        assert strip.grid.shape == image.grid.shape
        assert strip.record is not None
        assert strip.record.method == method
        np.testing.assert_allclose(strip.image, image.values, atol=1e-2)


def test_every_grade_of_a_knee_has_its_frame() -> None:
    bundle = cf.load_bundle("knee")
    grade = bundle.predictors["grade"]
    strip = cf.explain(
        "translate", grade, drawn(bundle, 1)[0], target="grade", bundle=bundle, levels=(0.5, 1.5, 2.5)
    )
    found = np.delete(strip.scores, strip.origin)
    assert (np.diff(found) >= -0.1).all()
    assert len(strip.frames) == 4


def test_an_unknown_bundle_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'knee'"):
        cf.load_bundle("kne")
    (tmp_path / "bundle.json").write_text('{"schema": 7}')
    with pytest.raises(InputError, match="schema 1; got 7"):
        cf.load_bundle(tmp_path)


def test_a_bundle_that_was_withdrawn_says_why_and_what_to_use_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "brain" not in list_bundles()
    said = r"^bundle 'brain' was withdrawn in version 0\.1\.0, .*docs/results/brain\.md.* use 'nodule'"
    with pytest.raises(InputError, match=said) as caught:
        cf.load_bundle("brain")
    assert "\n" not in str(caught.value) and (PAGES / "brain.md").is_file()
    np.save("slice.npy", np.zeros((64, 64), np.float32))
    assert main(["explain", "slice.npy", "--bundle", "brain", "--out", "run"]) == 2
    assert capsys.readouterr().err.strip() == f"contrafact: {caught.value}"
    for ask in (["check", "brain"], ["attributes", "brain"]):
        assert main(ask) == 2 and capsys.readouterr().err.strip() == f"contrafact: {caught.value}"
    with pytest.raises(InputError, match=said):  # a page of a run that was made with it
        load_live(LiveSetting(bundles=("brain",), shipped=True), "cpu")
    finding_bundle(tmp_path / "brain")  # a folder of one's own of that name is no shipped bundle
    assert cf.load_bundle("brain").name == "finding"


def real_knees(shared: Path, per_grade: int | None) -> tuple[list[Image], np.ndarray]:
    images, labels = [], []
    for grade in range(5):
        paths = sorted((shared / "knee_kl_128" / "val" / str(grade)).glob("*.jpg"))[:per_grade]
        images += [read_image(p) for p in paths]
        labels += [int(grade > 1)] * len(paths)
    return images, np.array(labels)


def real_chests(shared: Path, per_class: int | None) -> tuple[list[Image], np.ndarray]:
    """Of patients who are held out."""
    root = shared / "chestxray_pneumonia_224"
    paths = sorted((root / "train").glob("*/*.jp*g"))
    held = [p for p, out in zip(paths, data.chest_held(paths), strict=True) if out]
    images, labels = [], []
    for label, name in enumerate(("NORMAL", "PNEUMONIA")):
        some = [p for p in held if p.parent.name == name][:per_class]
        images += [read_image(p) for p in some]
        labels += [label] * len(some)
    return images, np.array(labels)


def real_nodules(shared: Path, per_class: int | None) -> tuple[list[Image], np.ndarray]:
    """Windows of 48 pixels of patients who are held out: a nodule, and none."""
    windows = nodule_windows.nodule_windows(shared, "val")
    chosen = windows if per_class is None else windows[:: len(windows) // (2 * per_class)][: 2 * per_class]
    images = [Image(one.values[None].astype(np.float32), window=(0, 255)) for one in chosen]
    return images, np.array([int(one.nodule) for one in chosen])


def real_histology(shared: Path, per_class: int | None) -> tuple[list[Image], np.ndarray]:
    """Crops of tiles that are held out, as they were scanned."""
    held = data.load("histology", shared, "val", side=64)
    rows = np.concatenate([np.flatnonzero(held.labels == label)[:per_class] for label in (0, 1)])
    return [Image(held.images[i].float().numpy(), window=(0, 255)) for i in rows], held.labels[rows]


REALS = {
    "histology": real_histology,
    "knee": real_knees,
    "chest": real_chests,
    "nodule": real_nodules,
}
REAL = [(name, REALS[name]) for name in NAMES if name in REALS]


@pytest.mark.parametrize(("name", "real"), REAL)
@pytest.mark.slow
def test_a_classifier_is_as_good_on_unseen_patients_as_its_card_says(
    name: str, real: Callable[..., Any], shared: Path
) -> None:
    bundle = cf.load_bundle(name)
    images, labels = real(shared, None)
    shares = torch.cat([bundle.predict(images[i : i + 1]) for i in range(len(images))])
    figure = next(f for f in bundle.card["figures"] if f["what"].startswith(("f: AUC", "model: AUC")))
    assert roc_auc_score(labels, shares[:, 1]) == pytest.approx(float(figure["value"]), abs=0.002)


@pytest.mark.parametrize(("name", "real"), REAL)
@pytest.mark.slow
def test_real_images_change_their_answer_both_ways_and_by_what_was_asked(
    name: str, real: Callable[..., Any], shared: Path
) -> None:
    bundle = cf.load_bundle(name)
    images, _ = real(shared, 3 if name == "knee" else 6)
    ask = {"target": "class:1", "bundle": bundle}
    strips = cf.explain(bundle.own_method, bundle.predictor, images, **ask)
    for strip in strips:
        with bundle.predictor.frozen(), torch.no_grad():
            again = bundle.predictor.target("class:1")(bundle.predictor(strip.frames))
        np.testing.assert_allclose(strip.scores, again, atol=1e-2)  # what is printed is what is shown
        assert strip.latent_distance.max() <= 5.01
    flips = [(s.scores.min() < 0 < s.scores.max()) for s in strips]
    assert np.mean(flips) >= 0.8
    assert np.median([s.reconstruction_error for s in strips]) < 0.5
    rows = cf.explain(bundle.own_method, bundle.predictor, images[::3], **ask, steps=(-2.0, -1.0, 1.0, 2.0))
    assert np.median([spearmanr(s.requested, s.scores).statistic for s in rows]) >= 0.9


@pytest.mark.parametrize("name", NAMES)
def test_no_figure_of_a_card_has_an_interval_without_a_width(name: str) -> None:
    """A share of 0 or 1 on few patients is not certain; what was measured once has no interval."""
    folder = list_bundles()[name]
    card = (folder / "MODEL_CARD.md").read_text()
    page = (PAGES / f"{name}.md").read_text()
    for row in json.loads((folder / "bundle.json").read_text())["card"].get("figures", []):
        low, _, high = row["interval"].partition(" to ")
        once = row["what"].startswith(("seconds", "model: AUC"))
        assert (row["interval"] == "") == once and (once or float(low) < float(high)), row
        for text in (card, page):
            assert f"| {row['what']} | {row['value']} | {row['interval']} |" in text, row


def test_the_writer_of_cards_gives_shares_wilsons_interval() -> None:
    table = Table(["a", "a", "b", "c", "d"])
    ones, some = np.ones(5), np.array([True, True, True, False, False])
    table.add("all", lambda i: float(ones[i].mean()))
    table.add("of two", lambda i: float(ones[i][some[i]].mean()) if some[i].any() else np.nan, among=some)
    table.put("once", 2.0, None)
    wanted = [f"{wilson(n, n)[0]:.3f} to 1.000" for n in (4, 2)]
    assert [row["interval"] for row in table.rows] == [*wanted, ""]


def broken(folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of the smallest bundle, its description changed."""
    shutil.copytree(list_bundles()["phantom"], folder)
    about = json.loads((folder / "bundle.json").read_text())
    changed = change(about)
    text = changed if isinstance(changed, str) and changed[0] == "[" else json.dumps(about)
    (folder / "bundle.json").write_text(text)
    return folder


BROKEN: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    *(
        (lambda about, key=key: about.pop(key), f"expected '{key}'")
        for key in ("name", "main", "generator", "window", "predictors", "directions")
    ),
    (lambda about: about.update(predictors=["honest.json"]), "'predictors' in bundle.json must be a table"),
    (lambda about: about.update(generator="stylegan2"), "'generator' in bundle.json must be a table"),
    (lambda about: about["generator"].update(size=3), r"\[bundle.json: generator\] has an unknown key 'size'"),
    (lambda about: about["generator"].update(resolution="64"), "resolution must be int; got '64'"),
    (lambda about: about["encoder"].update(depth=3), r"\[bundle.json: encoder\] has an unknown key 'depth'"),
    (lambda about: about.update(window="ab"), "'window' in bundle.json must be a list"),
    (lambda about: about.update(window=["a", "b"]), "'window' in 'bundle.json' must be"),
    (lambda about: about.update(window=[0]), "'window' in 'bundle.json' must be"),
    (lambda about: about.update(main="honesty"), "did you mean 'honest'"),
    (lambda about: about["directions"][0].update(predictor="other"), "expected one of the predictors"),
    (lambda about: about["directions"][0].pop("fit"), "expected 'fit'"),
    (lambda about: about["directions"].append(dict(about["directions"][0])), "alpha"),
    (lambda about: about["directions"].append(1), "expected a table as directions"),
    (lambda about: about.update(seconds={"other": "honest.json"}), "expected one of the predictors"),
    (lambda about: about.update(findings=[{"predictor": "honest"}]), "expected 'target'"),
    (lambda about: about.update(predictors={"honest": 5}), "file of a bundle|expected one of"),
    (lambda about: about.update(family=[]), "'family' in bundle.json must be text"),
    (
        lambda about: about.update(crop="centre"),
        "'crop' in 'bundle.json' must be one of.*did you mean 'center'",
    ),
    (lambda about: about.update(engine="translate"), "'engine' in 'bundle.json' must be one of"),
    (lambda about: about.update(least=47.5), "'least' in 'bundle.json' must be a whole number"),
    (lambda about: about.update(least=0), "'least' in 'bundle.json' must be a whole number"),
    (lambda about: about.update(crop=1), "'crop' in bundle.json must be text"),
    (lambda about: "[" * 100_000 + "]" * 100_000, "nested too deeply|expected a table"),  # noqa: ARG005
]


@pytest.mark.parametrize(("change", "line"), BROKEN)
def test_a_malformed_bundle_is_refused_in_one_line(
    change: Callable[[dict[str, Any]], Any], line: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=line) as caught:
        cf.load_bundle(broken(tmp_path / "bundle", change))
    assert "\n" not in str(caught.value)


ODD: list[Any] = [None, [], {"a": 1}, "x", True, -1, 1.5, [[]], [None], [{}]]


def places_in(about: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value stands in JSON, tables and lists too; of a list the first."""
    if not isinstance(about, (dict, list)):
        return
    for key, value in about.items() if isinstance(about, dict) else enumerate(about[:1]):
        yield (*path, key)
        yield from places_in(value, (*path, key))


@pytest.mark.parametrize("name", ["phantom", "finding"])
@pytest.mark.parametrize("part", ["generator", "encoder", "card", "directions", "findings", "crop", "family"])
def test_any_other_kind_of_value_is_refused_in_one_line_or_does_no_harm(
    name: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every value of `bundle.json` is replaced by every odd one."""
    folder = folder_of(name, tmp_path / "bundle")
    text = (folder / "bundle.json").read_text()
    limits = {"limits": ["one"], "images": "phantoms", "figures": [{"what": "a", "value": "1"}]}
    plain = json.loads(text)
    plain["card"] = limits | plain["card"]
    known: dict[Any, Any] = {}
    real = store.load_predictor
    monkeypatch.setattr(store, "load_predictor", lambda path, **k: known.setdefault(path, real(path, **k)))
    refused = 0
    inside = [path for path in places_in(plain.get(part, {}), (part,)) if "fit" not in path[:-1]]
    for path in [(part,), *inside] if part in plain else []:
        for odd in ODD:
            about = copy.deepcopy(plain)
            inner = about
            for key in path[:-1]:
                inner = inner[key]
            if inner[path[-1]] == odd:
                continue
            inner[path[-1]] = odd
            (folder / "bundle.json").write_text(json.dumps(about))
            try:
                bundle = cf.load_bundle(folder)
            except InputError as error:
                refused += 1
                line = str(error)
                assert "\n" not in line and len(line) < 600, (path, odd, line)
                assert "bundle.json" in line or "safetensors" in line or "family" in line, (path, odd, line)
            else:
                assert isinstance(bundle.card, Mapping)
                words = bundle_cards({"bundles": [{"name": bundle.name, **bundle.hashes, **bundle.card}]})
                json.dumps(words)
    assert refused or part not in plain


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda t: t.update(mean=t["mean"].long()), "expected 'mean' of floats in 'statistics.safetensors'"),
        (lambda t: t.update(mean=t["mean"] * float("nan")), "expected finite numbers as 'mean'"),
        (lambda t: t.update({"0.step": t["0.step"][None]}), "expected '0.step' "),
        (lambda t: t.update({"0.held": t["mean"].clone()}), "expected '0.held' "),
        (lambda t: t.pop("covariance"), "expected 'covariance' "),
    ],
)
def test_statistics_of_another_kind_are_refused_in_one_line(
    change: Callable[[dict[str, torch.Tensor]], Any], line: str, tmp_path: Path
) -> None:
    folder = broken(tmp_path / "bundle", lambda about: None)  # noqa: ARG005
    tensors = load_file(folder / "statistics.safetensors")
    change(tensors)
    save_file(tensors, folder / "statistics.safetensors")
    with pytest.raises(InputError, match=line) as caught:
        cf.load_bundle(folder)
    assert "\n" not in str(caught.value)


def test_a_bundle_that_is_saved_again_keeps_its_second_models(tmp_path: Path) -> None:
    folder = broken(tmp_path / "first", lambda about: about.update(seconds={"honest": "cheat.json"}))
    bundle = cf.load_bundle(folder)
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    about = json.loads((folder / "bundle.json").read_text())
    words: dict[str, Any] = {
        "descriptions": about["predictors"],
        "main": about["main"],
        "encoder_size": about["encoder"],
    }
    with pytest.raises(InputError, match="expected the description of the second model of honest"):
        save_bundle(again, bundle, **words)
    wrong = {**words, "encoder_size": {**about["encoder"], "width": about["encoder"]["width"] + 8}}
    with pytest.raises(InputError, match="the encoder's own kind and width"):
        save_bundle(again, bundle, **wrong, seconds=about["seconds"])
    save_bundle(again, bundle, **words, seconds=about["seconds"])
    found = cf.load_bundle(again)
    assert {k: p.digest for k, p in found.seconds.items()} == {k: p.digest for k, p in bundle.seconds.items()}
    assert found.seconds
    kept = found.latent.statistics.curvature
    assert kept is not None and torch.equal(kept, bundle.latent.statistics.curvature)


@pytest.mark.parametrize("high", [1.0, 12.0, 255.0])
def test_images_that_fill_hardly_any_of_the_window_are_refused(high: float) -> None:
    values = np.linspace(0, high, 64 * 64, dtype=np.float32).reshape(1, 64, 64)
    case = types.SimpleNamespace(read=lambda: Image(values), path=Path("a.npy"))
    size: Any = types.SimpleNamespace(channels=1, resolution=32)
    cohort: Any = [case]
    if high > 13:
        assert float(read_training_images(cohort, size, window=(0, 255))[0].max()) > 0.9
    else:
        with pytest.raises(InputError, match=rf"write window = \[0, {high:g}\] under"):
            read_training_images(cohort, size, window=(0, 255))
    images, _ = read_training_images(cohort, size, window=(0, high))
    assert float(images.max()) > 0.9
