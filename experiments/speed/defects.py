"""Measure parts that were slow or large against plain references with the same values, in one run.

    python -m experiments.speed.defects --page docs/results/performance.md

Reference and package are measured in turns; times are medians of `--rounds`, with the range in brackets. A slow
reference is measured once. `python -m experiments.speed.defects blur` measures one part.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import contrafact as cf
from contrafact.perturbation import fill_values

Job = Callable[[], Any]
PAGE = "docs/results/performance.md"


def timed(job: Job) -> float:
    began = time.perf_counter()
    job()
    return 1000 * (time.perf_counter() - began)


def spread(times: list[float]) -> str:
    """Milliseconds: the median, and the range where there is one."""
    text = f"{statistics.median(times):.4g}"
    return text if len(times) == 1 else f"{text} ({min(times):.4g} to {max(times):.4g})"


def pair(what: str, now: Job, plain: Job, *, rounds: int, plain_rounds: int | None = None) -> str:
    """One row: both in turns, after one of each to warm up unless the reference is measured once."""
    few = rounds if plain_rounds is None else plain_rounds
    now()
    if few > 1:
        plain()
    ours, theirs = [], []
    for number in range(rounds):
        ours.append(timed(now))
        if number < few:
            theirs.append(timed(plain))
    ratio = statistics.median(theirs) / statistics.median(ours)
    row = f"| {what} | {spread(theirs)} | {spread(ours)} | {ratio:.3g} |"
    print(row, flush=True)
    return row


def blur(rounds: int) -> list[str]:
    """Running sums against pooling whole boxes, the largest difference in the values beside it."""

    def pooled(images: Tensor) -> Tensor:
        pool = F.avg_pool2d if images.ndim == 4 else F.avg_pool3d
        reach = [max(1, side // 8) for side in images.shape[2:]]
        pads = [r for r in reversed(reach) for _ in range(2)]
        for _ in range(2):
            images = pool(F.pad(images, pads, mode="replicate"), [2 * r + 1 for r in reach], stride=1)
        return images

    rows = []
    for size, few in (((224, 224), None), ((96, 96, 96), 1)):
        images = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
        name = f'`fill="blur"` of {" × ".join(map(str, size))}'
        rows.append(
            pair(
                name,
                lambda images=images: fill_values(images, "blur"),
                lambda images=images: pooled(images),
                rounds=rounds,
                plain_rounds=few,
            )
        )
    return rows


PARTS: dict[str, Callable[[int], list[str]]] = {"blur": blur}
HEAD = ["| what | reference, ms | package, ms | ratio |", "| --- | --- | --- | --- |"]


def page(rows: list[str], rounds: int) -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor()
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    lines = [
        "# Parts that were slow or large",
        "",
        f"`python -m experiments.speed.defects --page {PAGE}` on one core of {cpu}",
        f"({versions}, contrafact {cf.__version__}): medians of {rounds} rounds in turns, the range in",
        "brackets, the reference over the package as the ratio. The references are plain implementations with",
        "the same values; tests compare the values and count rows, passes and memory.",
        "",
        *HEAD,
        *rows,
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--page", type=Path)
    asked = words.parse_args()
    torch.set_num_threads(1)
    rows = [row for name in asked.parts or PARTS for row in PARTS[name](asked.rounds)]
    if asked.page:
        asked.page.write_text(page(rows, asked.rounds))


if __name__ == "__main__":
    main()
