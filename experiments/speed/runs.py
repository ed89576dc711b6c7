"""Measure what storing and running cost beside the methods: the run folder, the study runner, the viewer.

    python -m experiments.speed.runs --page docs/results/runs.md

Times are medians of `--rounds`, with the range in brackets. `python -m experiments.speed.runs memory` measures
one part.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import contrafact as cf
from contrafact.core import Heatmap, Image, Record
from contrafact.core.execution import explain
from contrafact.io import Run, open_run, read_image, stored_form, write_atomic
from contrafact.io.packed_arrays import packed
from contrafact.io.row_log import append
from contrafact.models import load_predictor
from contrafact.models.example_networks import ResidualNetwork
from contrafact.render.run_index import RunIndex
from experiments.speed.defects import long_run

SIDE = 16  # voxels a side of the trivial study's images
STUDY = """
images = ["images"]
out = "run"
targets = ["class:1"]
devices = ["cpu"]
[model]
path = "net.json"
[methods.gradient]
"""
ABOUT = {
    "factory": "contrafact.models.example_networks:ResidualNetwork",
    "weights": "net.safetensors",
}
Measured = tuple[str, str, str, str]


def spread(values: list[float]) -> str:
    """The median, and the range where there is one."""
    text = f"{statistics.median(values):.3g}"
    return text if len(values) == 1 else f"{text} ({min(values):.3g} to {max(values):.3g})"


def seconds(job: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    job()
    return clock() - began


def store(rounds: int) -> Iterator[Measured]:
    """20 results of each of 50 images, against a run whose results hold their images (schema 1)."""
    for name, shape, whole in (
        ("224 × 224, 8 bit", (1, 224, 224), True),
        ("3 × 224 × 224, fractions", (3, 224, 224), False),
        ("64 × 64 × 64, HU", (1, 64, 64, 64), True),
    ):
        times: dict[str, list[float]] = {"now": [], "before": []}
        sizes = {}
        for _ in range(rounds):
            for which, add in (("before", _add_with_image), ("now", Run.add)):
                with tempfile.TemporaryDirectory() as folder:
                    run = Run.create(Path(folder) / "run", about={})
                    times[which].append(seconds(lambda: _fill(run, add, shape, whole)))  # noqa: B023
                    sizes[which] = sum(p.stat().st_size for p in run.folder.rglob("*") if p.is_file()) / 1e6
        what = f"20 results of 50 images of {name}"
        yield (
            f"{what}: MB on the disk",
            f"{sizes['before']:.0f}",
            f"{sizes['now']:.0f}",
            f"{sizes['before'] / sizes['now']:.2f}",
        )
        ratio = statistics.median(times["before"]) / statistics.median(times["now"])
        yield f"{what}: s to store", spread(times["before"]), spread(times["now"]), f"{ratio:.2f}"


def _fill(run: Run, add: Callable[..., None], shape: tuple[int, ...], whole: bool) -> None:
    rng = np.random.default_rng(0)
    for number in range(50):
        values = rng.normal(100, 30, shape).astype(np.float32)
        image = Image(np.round(values) if whole else values, source=f"{number}.png")
        for method in range(20):
            heat = Heatmap(values=values[0], grid=image.grid, record=_record(image, f"method-{method}"))
            add(run, f"{number}/{method}", image, heat)


def _record(image: Image, method: str) -> Record:
    return Record(
        method=method, parameters={}, target="class:1", model="a" * 16, image=image.digest, source=image.source,
        seed=0, versions={"contrafact": "0"}, seconds=0.1, forward_passes=1.0,
    )  # fmt: skip


def _add_with_image(run: Run, key: str, image: Image, heat: Heatmap) -> None:
    """Store a result as a run of schema 1 has it."""
    row, arrays = stored_form(image, heat)
    name = f"{len(run.done()):05d}.npz"
    write_atomic(run.folder / "arrays" / name, packed(arrays))
    append(run.folder / "results.jsonl", {"key": key, "array": name, **row})


def trivial_study(folder: Path, count: int, *, side: int = SIDE, width: int = 4) -> Path:
    """A study of one quick method on small images."""
    about = {**ABOUT, "arguments": {"channels": 1, "outputs": 2, "width": width, "stages": 1}}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ResidualNetwork(channels=1, outputs=2, width=width, stages=1)
    save_file(network.state_dict(), folder / "net.safetensors")
    (folder / "net.json").write_text(json.dumps(about))
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        np.save(folder / "images" / f"{number:06d}.npy", rng.normal(0, 1, (1, side, side)).astype(np.float32))
    (folder / "study.toml").write_text(STUDY)
    return folder / "study.toml"


def overhead(rounds: int) -> Iterator[Measured]:
    """A study of 300 small images against the method alone on the same images, which are read before."""
    clocks: dict[str, Callable[[], float]] = {
        "processor time": time.process_time,
        "with the disk": time.perf_counter,
    }
    for name, clock in clocks.items():
        alone, studied = [], []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as made:
                path = trivial_study(Path(made), 300)
                predictor = load_predictor(path.parent / "net.json")
                images = [read_image(p) for p in sorted((path.parent / "images").iterdir())]
                target, method, times = predictor.target("class:1"), cf.Gradient(), list[float]()
                for image in images:
                    began = clock()
                    explain(method, predictor, [image], target=target)
                    times.append(clock() - began)
                alone.append(1000 * statistics.median(times))
                studied.append(1000 * statistics.median(_gaps(path, clock)))
        more = [a - b for a, b in zip(studied, alone, strict=True)]
        what = f"ms for `gradient` of an image of {SIDE} × {SIDE}, {name}"
        yield what, spread(alone), spread(studied), spread(more)


def _gaps(path: Path, clock: Callable[[], float]) -> list[float]:
    """The seconds from each result of a study, in this process, to the next."""
    found, last = list[float](), 0.0
    for _ in cf.study(path, engine="local"):
        now = clock()
        found, last = [*found, now - last], now
    return found[1:]


def batches(rounds: int) -> Iterator[Measured]:
    """A study of 48 images, one at a time and 16 at once: processor time from the 16th result to the last."""
    for side in (16, 64):
        for method in ("gradient", "gradcam", "integrated-gradients"):
            times: dict[int, list[float]] = {1: [], 16: []}
            for _ in range(rounds):
                for size, found in times.items():
                    with tempfile.TemporaryDirectory() as made:
                        path = trivial_study(Path(made), 48, side=side, width=16)
                        text = path.read_text().replace("[methods.gradient]", f"[methods.{method}]")
                        path.write_text(f"batch = {size}\n{text}")
                        found.append(1000 * sum(_gaps(path, time.process_time)[15:]) / 32)
            ratio = f"{statistics.median(times[1]) / statistics.median(times[16]):.2f}"
            what = f"ms of the processor for `{method}` of an image of {side} × {side}"
            yield what, spread(times[1]), spread(times[16]), ratio


def memory(_: int) -> Iterator[Measured]:
    """The peak memory of a study of 10,000 small images against one of 1,000."""
    peaks = [_peak(count) for count in (1000, 10_000)]
    what = "MB at the peak of a study in one process, 16 images at once"
    yield what, f"{peaks[0]:.0f}", f"{peaks[1]:.0f}", f"{(peaks[1] - peaks[0]) / 9:.2f} per 1,000 images"


def _peak(count: int) -> float:
    words = [sys.executable, "-m", "experiments.speed.runs", "--peak", str(count)]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[-1])


def _run_and_say(count: int) -> None:
    """In a process of its own: run the study, and print the peak of its memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        path = trivial_study(Path(folder), count)
        path.write_text(f"batch = 16\n{path.read_text()}")
        for _ in cf.study(path, engine="local"):
            pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def opening(rounds: int) -> Iterator[Measured]:
    """The list of a run of 20,000 images with five maps each, as the viewer reads it first and then again."""
    with tempfile.TemporaryDirectory() as folder:
        run = long_run(Path(folder) / "run", cases=20_000, methods=5)
        first, again = [], []
        for _ in range(rounds):
            index = RunIndex(open_run(run.folder))
            first.append(seconds(index.chosen, time.process_time))
            again.append(seconds(index.chosen, time.process_time))
    what = "s of the processor to list a run of 100,000 results in the viewer"
    yield what, spread(first), spread(again), f"{statistics.median(first) / statistics.median(again):.0f}"


PARTS: dict[str, Callable[[int], Iterator[Measured]]] = {
    "store": store,
    "overhead": overhead,
    "batches": batches,
    "memory": memory,
    "opening": opening,
}
COLUMNS = {
    "store": ("in each result", "once", "ratio"),
    "overhead": ("alone", "in a study", "difference"),
    "batches": ("one at a time", "16 at once", "ratio"),
    "memory": ("1,000", "10,000", "difference"),
    "opening": ("first", "again", "ratio"),
}


def table(name: str, rounds: int) -> list[str]:
    lines = [f"| what | {' | '.join(COLUMNS[name])} |", "| --- | --- | --- | --- |"]
    for row in PARTS[name](rounds):
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
    return [*lines, ""]


def page(tables: list[str], rounds: int) -> str:
    load = f"{os.getloadavg()[2]:.1f}"
    lines = [
        "# What a run and a study cost beside the methods",
        "",
        f"`python -m experiments.speed.runs --rounds {rounds} --page docs/results/runs.md` with one thread",
        f"(Python {platform.python_version()}, torch {torch.__version__}): medians of {rounds} rounds, the",
        f"range in brackets. {os.cpu_count()} cores had a load of {load}: the ratios are of more use than the",
        "times.",
        "",
        *tables,
    ]
    return "\n".join(lines)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--page", type=Path)
    words.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    asked = words.parse_args()
    torch.set_num_threads(1)
    if asked.peak:
        _run_and_say(asked.peak)
        return
    tables = [line for name in asked.parts or PARTS for line in table(name, asked.rounds)]
    if asked.page:
        asked.page.write_text(page(tables, asked.rounds))


if __name__ == "__main__":
    main()
