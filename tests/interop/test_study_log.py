"""A study is logged: what was set, how far it is, the means at its end; no image and no name of a patient."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from conftest import small_network
from contrafact.cli import main
from contrafact.core import InputError, UnsupportedError
from contrafact.interop import MLflowTracker, WandbTracker, logged_study

STUDY = """
images = ["SMITH_*.npy"]
out = "runs/study"
targets = ["class:1"]
title = "Two methods"
references = false

[model]
path = "net.json"

[methods.gradient]
[methods."gradcam++"]

[metrics.sparseness]
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    save_file(small_network().eval().state_dict(), tmp_path / "net.safetensors")
    about = {"factory": "conftest:small_network", "weights": "net.safetensors", "classes": ["no", "yes"]}
    (tmp_path / "net.json").write_text(json.dumps(about))
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(tmp_path / f"SMITH_{name}.npy", rng.uniform(0, 1, (1, 16, 16)).astype(np.float32))
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path / "study.toml"


class Kept:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.settings: dict[str, object] = {}
        self.steps: list[dict[str, float]] = []
        self.values: dict[str, float] = {}
        self.files: list[str] = []
        self.failed: bool | None = None

    def start(self, name: str, settings: Mapping[str, object]) -> None:
        self.settings = {"title": name, **settings}

    def log(self, values: Mapping[str, float], step: int) -> None:
        assert step == values["done"]
        self.steps.append(dict(values))

    def finish(self, values: Mapping[str, float], files: Sequence[Path], *, failed: bool) -> None:
        self.values, self.failed = dict(values), failed
        self.files = [path.read_text() for path in files]


def test_a_study_tells_its_settings_its_progress_and_its_means(study: Path) -> None:
    kept = Kept()
    rows = list(logged_study(study, kept, engine="local", trust_code=True))
    assert kept.settings["title"] == "Two methods" and kept.settings["targets"] == "class:1"
    assert kept.settings["methods.gradcam++.name"] == "gradcam++"
    assert [step["done"] for step in kept.steps] == list(range(1, len(rows) + 1))
    assert kept.steps[-1] == {"done": 6, "total": 6, "failed": 0} and kept.failed is False
    summary = json.loads((study.parent / "runs" / "study" / "summary.json").read_text())["summary"]
    means = {f"{row['method']}/{row['metric']}/mean": row["mean"] for row in summary}
    assert len(means) == 2 and means.items() <= kept.values.items()
    assert kept.values["results"] == 4 and len(kept.files) == 2
    assert "SMITH" not in json.dumps([kept.settings, kept.steps, kept.values, kept.files])


def test_a_study_that_is_left_is_logged_as_failed(study: Path) -> None:
    kept = Kept()
    running = logged_study(study, kept, engine="local", trust_code=True)
    next(running)
    running.close()
    assert kept.failed is True and not kept.values and len(kept.steps) == 1


def test_what_is_not_there_is_named(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="expected one of mlflow, wandb; got 'mlfow'; did you mean 'mlflow'?"):
        next(logged_study(study, "mlfow"))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'contrafact\[mlflow\]'"):
        MLflowTracker()
    with pytest.raises(UnsupportedError, match=r"pip install 'contrafact\[wandb\]'"):
        WandbTracker()


def test_the_verb_names_the_extra(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main(["study", str(study), "--log-to", "wandb", "--trust-code"]) == 1
    assert "contrafact[wandb]" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")  # of the library
def test_mlflow_has_a_run_of_the_study(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the store that needs no server and no database
    pytest.importorskip("mlflow", reason="needs MLflow: pip install 'contrafact[mlflow]'")
    tracker = MLflowTracker(uri=(study.parent / "mlruns").as_uri())
    list(logged_study(study, tracker, engine="local", trust_code=True))
    run = tracker.client.get_run(tracker.run)
    assert run.info.status == "FINISHED" and run.info.run_name == "Two methods"
    assert run.data.params["methods.gradcamplusplus.name"] == "gradcam++"
    assert run.data.metrics["done"] == 6 and "gradient/sparseness/mean" in run.data.metrics
    assert {file.path for file in tracker.client.list_artifacts(tracker.run)} == {
        "summary.csv",
        "comparisons.csv",
    }


@pytest.mark.filterwarnings("default")
def test_weights_and_biases_has_a_run_of_the_study(study: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb", reason="needs wandb: pip install 'contrafact[wandb]'")
    tracker = WandbTracker(mode="offline", dir=str(study.parent))
    list(logged_study(study, tracker, engine="local", trust_code=True))
    assert tracker.run.config["targets"] == "class:1"
    assert "results 4" in capfd.readouterr().err  # wandb's own summary of the run
    assert list(study.parent.glob("wandb/offline-run-*/*.wandb"))
