"""The scripts behind docs/results: each imports and shows its help, and the package needs none of them."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture

import contrafact as cf
import experiments
from contrafact.bundles import list_bundles
from contrafact.bundles.fit_config import read_config
from experiments.evaluate import bundle, judge
from experiments.evaluate.scores import both_sides, scores_of
from experiments.speed import training
from experiments.train import oracle, ship

ROOT = Path(__file__).parents[2]
MODULES = sorted(m.name for m in pkgutil.walk_packages(experiments.__path__, "experiments.") if not m.ispkg)


def source(module: str) -> str:
    return (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")


SCRIPTS = [name for name in MODULES if '__name__ == "__main__"' in source(name)]


def imported(name: str) -> Any:
    """The module, or a skip where a library is missing that only this script needs."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("contrafact", "experiments"):
            raise
        pytest.skip(f"needs {error.name}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries that only scripts import
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_shows_its_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = imported(name)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert " ".join(script.__doc__.split())[:60] in told


def test_commands_in_documents_name_scripts_that_are_there() -> None:
    texts = [p.read_text(encoding="utf-8") for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))]
    told = {name for text in texts for name in re.findall(r"python -m (experiments[.\w]*\w)", text)}
    assert len(told) > 20
    assert told <= set(SCRIPTS)


def test_the_list_of_scripts_names_each_of_them_and_pages_that_are_there() -> None:
    text = (ROOT / "experiments/README.md").read_text(encoding="utf-8")
    parts = re.split(r"^## `(\w+)`", text, flags=re.MULTILINE)
    listed = {
        f"experiments.{folder}.{name}"
        for folder, part in zip(parts[1::2], parts[2::2], strict=True)
        for name in re.findall(r"^\| `(\w+)`", part, re.MULTILINE)
    }
    assert listed == set(SCRIPTS)
    pages = {(ROOT / "experiments" / page).resolve() for page in re.findall(r"\]\(([^)]+\.md)\)", text)}
    assert all(page.exists() for page in pages)
    measured = {p for p in ROOT.glob("docs/results/*.md") if "python -m experiments" in p.read_text("utf-8")}
    assert measured <= pages


def test_no_script_edits_the_import_path() -> None:
    assert not [name for name in MODULES if "sys.path" in source(name)]


def test_the_package_does_not_import_experiments() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        if "node_modules" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "experiments"], path


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").rglob("*.toml")), ids=lambda path: path.stem)
def test_a_configuration_of_a_shipped_bundle_can_be_read_and_writes_to_runs(path: Path) -> None:
    _, out = read_config(path)
    assert out.parent == ROOT / "runs"


def knee_files(folder: Path) -> Path:
    """Six held-out knees and six to train on, drawn, in the folders of their grades."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for number in range(6):
            file = folder / part / str(number % 5) / f"90{number}{part}L.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Picture.fromarray(rng.integers(0, 255, (128, 128), dtype=np.uint8)).save(file)
    return folder


def test_the_study_of_heatmaps_gives_a_model_images_of_its_size(tmp_path: Path) -> None:
    """The model of the bundle `knee` takes 128 pixels, that of `chest` 64."""
    study = judge.prepare("knee", knee_files(tmp_path / "knee_kl_128"), tmp_path / "out", 4, Path("none"))
    side = cf.load_bundle("knee").predictor.preprocessing.size[0]
    images = [cf.read_image(file).values for file in (tmp_path / "out" / "images").iterdir()]
    assert [values.shape for values in images] == [(1, side, side)] * 4
    assert f"box = {side // 4}" in study.read_text()


def test_a_latent_space_is_measured_with_the_model_it_was_fitted_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle `knee` explains another model, of larger images, with its translator."""
    seen = []

    def stop(measured: Any, *_: Any) -> None:
        seen.append(measured)
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "classifier_and_surrogate", stop)
    folder = str(list_bundles()["knee"])
    monkeypatch.setattr(sys, "argv", ["", "knee", str(knee_files(tmp_path)), "--bundle", folder])
    with pytest.raises(KeyboardInterrupt):
        bundle.main()
    assert seen[0].predictor.digest == seen[0].directions[0].model


def test_only_bundles_with_directions_are_timed_by_a_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """`chest` and `nodule` have none: a walk there is an error."""
    walked = set()
    monkeypatch.setattr(training, "SIDES", {})  # of translators, on real images
    monkeypatch.setattr(training.cf, "explain", lambda *_, **ask: walked.add(ask["bundle"].name))
    assert set(training.explained(1e-9, Path())) == {"latent-walk, knee, 64 px", "latent-walk, phantom, 32 px"}
    assert walked == {"knee", "phantom"}


def test_the_second_model_of_a_translators_bundle_is_not_replaced_by_one_of_smaller_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["", "knee", "-", "--out", str(tmp_path), "--ship", str(tmp_path)])
    with pytest.raises(SystemExit):
        oracle.main()
    assert "made by experiments.train.classifiers" in capsys.readouterr().err


def test_the_card_of_the_phantoms_is_written_as_it_ships() -> None:
    folder = list_bundles()["phantom"]
    about = json.loads((folder / "bundle.json").read_text())
    assert about["card"] == ship.CARD
    assert ship.model_card(about, 1_900_000) == (folder / "MODEL_CARD.md").read_text()


def test_a_second_model_is_put_into_a_bundle_for_every_model_that_it_confirms(tmp_path: Path) -> None:
    folder = shutil.copytree(list_bundles()["phantom"], tmp_path / "phantom")
    torch.manual_seed(3)
    network = oracle.plain(2).eval()
    oracle.keep(tmp_path / "phantom.safetensors", network.state_dict())
    oracle.ship("phantom", folder, tmp_path)
    shipped, x = cf.load_bundle(folder), torch.rand(2, 1, 32, 32) * 255
    for name in ("honest", "cheat"):
        second = shipped.second_model(shipped.predictors[name])
        found = scores_of(second, x)
        wanted = network(x / 127.5 - 1).diff(dim=1)[:, 0].detach().numpy()
        assert np.allclose(found, wanted, atol=0.02), "half precision"


def test_half_of_the_images_lie_on_each_side_of_the_decision() -> None:
    scores = np.random.default_rng(0).normal(1.0, 1.0, 200).astype(np.float32)
    rows = both_sides(scores, 20)
    assert len(set(rows.tolist())) == 20
    assert int((scores[rows] < 0).sum()) == 10
