"""Measure the peak memory of heatmaps of volumes, with the limits that the package sets and without.

    python -m experiments.speed.peaks

Each row is two processes, whose resident memory is compared with what it was before the method began. The
network is one small convolution, so that what the method itself holds is measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from contrafact.attribution.gradient import integrated_gradients
from contrafact.core import EXPLAINERS, Image
from contrafact.core.execution import explain
from contrafact.models import TorchPredictor
from contrafact.perturbation import memory

SIDES = {"kernel-shap": 96, "shapley-sampling": 96, "integrated-gradients": 128}
METHODS = {
    "kernel-shap": {"samples": 128, "count": 4},
    "shapley-sampling": {"samples": 1, "count": 4},
    "integrated-gradients": {"gap": 1e-12, "most": 129},
}
HEAD = ["| peak of one map | without limits, MB | package, MB | ratio |", "| --- | --- | --- | --- |"]


def peak(name: str, limited: bool) -> float:
    """Megabytes that one map needs beside what the process held before."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 1, 5, stride=5), nn.SiLU(), nn.Flatten(), nn.LazyLinear(2)).eval()
    values = np.random.default_rng(0).random((1, *(3 * [SIDES[name]])), dtype=np.float32)
    network(torch.from_numpy(values[None]))
    predictor = TorchPredictor(network, classes=["a", "b"])
    explain(EXPLAINERS.make("gradient"), predictor, [Image(values)], target=predictor.target("value:1"))
    explainer = EXPLAINERS.make(name, **METHODS[name])
    if name != "integrated-gradients":
        from captum.attr import KernelShap  # noqa: F401  its import is not the method's memory
    if not limited:
        memory.VOXELS = integrated_gradients.KEPT = 2**60
    before = resident("VmHWM")
    explain(explainer, predictor, [Image(values)], target=predictor.target("value:1"))
    return resident("VmHWM") - before


def resident(field: str) -> float:
    """Megabytes of this process's resident memory, of Linux. (`ru_maxrss` begins with what the parent held.)"""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def rows() -> list[str]:
    found = []
    for name in METHODS:
        both = []
        for limited in ("", "--limited"):
            words = [sys.executable, "-m", "experiments.speed.peaks", name, *filter(None, [limited])]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            both.append(float(done.stdout.split()[-1]))
        without, now = both
        found.append(
            f"| `{name}` at {SIDES[name]}³ | {without:.0f} | {now:.0f} | {without / max(now, 1):.2g} |"
        )
        print(found[-1], flush=True)
    return found


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("method", nargs="?", choices=METHODS)
    words.add_argument("--limited", action="store_true")
    asked = words.parse_args()
    if asked.method:
        print(peak(asked.method, asked.limited))
    else:
        rows()


if __name__ == "__main__":
    main()
