"""A study reads every image from its file once, for all methods and metrics."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from conftest import small_network
from contrafact.io import images, open_run
from contrafact.study.runner import study

STUDY = """images = ["*.npy"]
out = "run"
targets = ["class:1"]
[model]
path = "net.json"
[methods.gradient]
[methods.gradcam]
[methods.occlusion]
box = 8
stride = 8
[metrics.deletion]
[metrics.sparseness]
"""


def test_a_study_of_several_methods_and_metrics_reads_each_image_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(small_network().state_dict(), tmp_path / "net.safetensors")
    about = {"factory": "conftest:small_network", "weights": "net.safetensors", "classes": ["no", "yes"]}
    (tmp_path / "net.json").write_text(json.dumps(about))
    rng, reads, read = np.random.default_rng(0), Counter[str](), images._read
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", rng.uniform(0, 1, (1, 16, 16)).astype(np.float32))
    (tmp_path / "study.toml").write_text(STUDY)

    def counted(path: Path, *more: Any) -> Any:
        reads[path.name] += 1
        return read(path, *more)

    monkeypatch.setattr(images, "_read", counted)
    assert not [
        row.failure for row in study(tmp_path / "study.toml", engine="local", trust_code=True) if row.failure
    ]
    assert len(open_run(tmp_path / "run").rows()) == 6
    assert reads == {"a.npy": 1, "b.npy": 1}
