"""A heatmap of one image waits for no library that it does not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SLOW_TO_IMPORT = ("captum", "matplotlib", "monai", "nibabel", "pandas", "scipy.stats", "sklearn")
CODE = """
import sys
from contrafact.cli import main
try:
    main(sys.argv[1:])
finally:
    print(sorted(sys.modules.keys() & set({names})))
"""


@pytest.mark.slow
def test_a_map_of_one_image_imports_no_library_that_it_does_not_use(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.random.default_rng(0).uniform(0, 255, (64, 64)).astype(np.float32))
    words = ["explain", str(tmp_path / "image.npy"), "--bundle", "phantom", "--methods", "gradcam"]
    words += ["--out", str(tmp_path / "run"), "--no-checks"]
    program = [sys.executable, "-c", CODE.replace("{names}", repr(SLOW_TO_IMPORT)), *words]
    found = subprocess.run(program, capture_output=True, text=True, check=False)
    assert found.stdout.splitlines()[-1:] == ["[]"], found.stdout + found.stderr
    assert (tmp_path / "run" / "report.html").exists()
