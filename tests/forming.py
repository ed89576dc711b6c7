"""A folder with all that a small study needs, and a desk over it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from conftest import small_network

TOML = """images = ["*.npy"]
out = "run"
targets = ["class:1"]

[model]
path = "net.json"

[methods.gradient]
"""


def study_folder(folder: Path) -> Path:
    """Two images, a model, and a cohort that names one more."""
    folder.mkdir(exist_ok=True)
    save_file(small_network().eval().state_dict(), folder / "net.safetensors")
    about = {"factory": "conftest:small_network", "arguments": {}, "weights": "net.safetensors"}
    (folder / "net.json").write_text(json.dumps({**about, "classes": ["no", "yes"]}))
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        np.save(folder / f"{name}.npy", rng.uniform(0, 1, (1, 16, 16)).astype(np.float32))
    lines = ["path,patient,label,split,sex", "a.npy,1,yes,val,f", "b.npy,2,no,val,m", "c.npy,3,no,train,m"]
    (folder / "cohort.csv").write_text("\n".join(lines) + "\n")
    return folder
