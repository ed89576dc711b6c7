"""The recipes of docs/how-to: their files are read, name nothing that is not there, and run."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from contrafact.io import open_run
from contrafact.study import read_study
from contrafact.study.preflight import survey
from contrafact.study.runner import study

HOW_TO = Path(__file__).parents[2] / "docs/how-to"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The recipe's study beside the files that it names: a small volume with a tube, and two small networks."""
    nets = pytest.importorskip("monai.networks.nets")
    shutil.copy(HOW_TO / "tof-mra.toml", tmp_path)
    tube = np.zeros((20, 20, 12), np.float32)
    tube[8:12, 8:12] = 200
    for name, values in (("images", tube + 40), ("masks", tube / 200)):
        (tmp_path / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / name / "a.nii.gz")
    text = (HOW_TO / "tof-mra.md").read_text(encoding="utf-8")
    about = json.loads(re.findall(r"```json\n(.+?)```", text, re.DOTALL)[0])
    for name in ("unet", "segresnet"):
        torch.manual_seed(0)
        network = nets.UNet(**about["arguments"]).eval()
        with torch.no_grad():  # a vessel everywhere: the network is not what is tested
            last = [p for n, p in network.named_parameters() if n.endswith("bias")][-1]
            last.copy_(torch.tensor([-3.0, 3.0]))
        save_file(network.state_dict(), tmp_path / f"{name}.safetensors")
        (tmp_path / f"{name}.json").write_text(json.dumps({**about, "weights": f"{name}.safetensors"}))
    return tmp_path


def test_the_recipe_of_angiographs_names_nothing_that_is_not_there(folder: Path) -> None:
    table = tomllib.loads((folder / "tof-mra.toml").read_text())
    found = survey(table, folder, folder)
    assert (found.outside, found.missing) == ([], [])
    assert found.facts["study.masks"] == ["1 of 1 images have one"]
    assert found.facts["models.0"] == ["classes: background, vessel"]
    assert set(read_study(folder / "tof-mra.toml").choices) == {"unet", "segresnet"}


@pytest.mark.slow
def test_the_recipe_of_angiographs_runs(folder: Path) -> None:
    text = (folder / "tof-mra.toml").read_text().replace("patch = [64, 64, 64]", "patch = [12, 16, 16]")
    (folder / "tof-mra.toml").write_text(text)
    assert not [one.failure for one in study(folder / "tof-mra.toml", engine="local") if one.failure]
    run = open_run(folder / "runs/tof-mra")
    assert len(run.rows()) == 10
    metrics = {score["metric"] for row in run.scores().values() for score in row["scores"]}
    assert {"infidelity", "max-sensitivity", "relevance-mass"} <= metrics
