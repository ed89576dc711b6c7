"""Measure how cost grows with image size, volume, cohort and workers, and draw it.

    python -m experiments.speed.scale --data ../shared/data --page docs/results/scale.md \
        --picture docs/pictures/scale.png

Needs `pip install 'contrafact[ray]'` for its rows of Ray. Figures that are finished are kept (`--work`), so
that a run that was ended goes on; give another folder to measure anew. On a machine with other work the rows
of workers say nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Picture

import contrafact as cf
from experiments.data import load
from experiments.speed.large import Case, asked
from experiments.speed.runs import trivial_study
from experiments.tables import table

METHODS = ("gradcam", "integrated-gradients", "occlusion")  # the last of images alone: 512 passes of a volume
IMAGES = [Case("ResNet-50", side) for side in (64, 128, 256, 512)]
VOLUMES = [Case("UNet", side) for side in (32, 48, 64, 96)]
COHORTS = (100, 300, 1000, 3000)
# Name: the engine and how many workers.
WORKERS = {
    "1 process": ("processes", 1),
    "2 processes": ("processes", 2),
    "Ray, 1": ("ray", 1),
    "Ray, 2": ("ray", 2),
}
KNEES = """
images = ["images"]
out = "run"
targets = ["class:1"]
devices = ["cpu"]
workers_per_device = {workers}
[model]
bundle = "knee"
[methods.translate]
"""
Points = dict[str, list[tuple[float, float]]]


def kept(work: Path, name: str, measure: Callable[[], Any]) -> Any:
    """A figure that was measured before, or measured now."""
    file = work / f"{name}.json"
    if not file.exists():
        work.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(measure()), encoding="utf-8")
        print(name, file.read_text(encoding="utf-8"), flush=True)
    return json.loads(file.read_text(encoding="utf-8"))


def grown(cases: list[Case], work: Path) -> tuple[Points, list[list[str]]]:
    """Seconds of each method by the side, and rows with their growth beside that of the pixels."""
    points, rows = Points(), list[list[str]]()
    for name in METHODS if cases[0].network == "ResNet-50" else METHODS[:2]:
        found = [asked("ours", name, case, 0, work / "large") for case in cases]
        points[name] = [(case.side, one["seconds"]) for case, one in zip(cases, found, strict=True)]
        axes = 2 if cases[0].network == "ResNet-50" else 3
        straight = [(case.side / cases[-2].side) ** axes for case in cases]
        growth = found[-1]["seconds"] / found[-2]["seconds"] / straight[-1]
        cells = [f"{one['seconds']:.2f} s, {one['megabytes']:.0f} MB" for one in found]
        rows.append([f"`{name}`", *cells, f"{growth:.2f}"])
    return points, rows


def cohort(count: int) -> dict[str, float]:
    """Wall seconds from the first result of a study in this process to its last."""
    with tempfile.TemporaryDirectory() as folder:
        path, times = trivial_study(Path(folder), count), list[float]()
        for _ in cf.study(path, engine="local"):
            times.append(time.perf_counter())
        return {"seconds": times[-1] - times[0], "megabytes": _peak_of(count)}


def _peak_of(count: int) -> float:
    words = [sys.executable, "-m", "experiments.speed.runs", "--peak", str(count)]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[-1])


def knees(data: Path, count: int, engine: str, workers: int) -> dict[str, float]:
    """Wall seconds of a study of knees by the translator: from its start to the first result, and from there to
    the last."""
    whole = load("knee", data, "val", side=128)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "images").mkdir()
        for number, image in enumerate(whole.images[:count, 0].numpy()):
            Picture.fromarray(image.astype("uint8")).save(folder / "images" / f"{number:04d}.png")
        (folder / "study.toml").write_text(KNEES.format(workers=workers))
        began, times = time.perf_counter(), list[float]()
        for row in cf.study(folder / "study.toml", engine=engine):
            if row.failure:
                raise RuntimeError(row.failure.error)
            times.append(time.perf_counter())
    return {"start": times[0] - began, "seconds": times[-1] - times[0], "images": float(len(times))}


def overhead(engine: str) -> float:
    """Milliseconds an image of a study of 400 small images, by one worker, from the 50th result to the last."""
    with tempfile.TemporaryDirectory() as folder:
        path, times = trivial_study(Path(folder), 400), list[float]()
        for _ in cf.study(path, engine=engine):
            times.append(time.perf_counter())
    return 1000 * (times[-1] - times[49]) / (len(times) - 50)


def drawn(panels: dict[str, tuple[str, Points]], path: Path) -> None:
    """A panel for each growth, with both axes logarithmic and a straight line to compare with."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    figure = Figure(figsize=(12, 3.6), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, (along, points)) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name, found in points.items():
            axes.plot(*zip(*found, strict=True), marker="o", label=name)
        axes.set(title=title, xlabel=along, ylabel="seconds")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        ticks = sorted({x for found in points.values() for x, _ in found})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.35)  # room for the legend
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if high > 50 * low else (1, 1.5, 2, 3, 5, 7)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend(fontsize=9, loc="upper center")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def workers_of(kind: str, work: dict[str, dict[str, float]]) -> list[tuple[float, float]]:
    return [(float(WORKERS[name][1]), one["seconds"]) for name, one in work.items() if WORKERS[name][0] == kind]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, required=True)
    words.add_argument("--work", type=Path, default=Path("runs/scale"))
    words.add_argument("--knees", type=int, default=500)
    words.add_argument("--page", type=Path)
    words.add_argument("--picture", type=Path)
    given = words.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

    def figure(name: str, measure: Callable[..., Any], *about: Any) -> Any:
        return kept(given.work, name, partial(measure, *about))

    work = {n: figure(f"knees-{n}", knees, given.data, given.knees, *how) for n, how in WORKERS.items()}
    over = {engine: figure(f"overhead-{engine}", overhead, engine) for engine in ("local", "processes", "ray")}
    flat, flat_rows = grown(IMAGES, given.work)
    solid, solid_rows = grown(VOLUMES, given.work)
    studies = {count: figure(f"cohort-{count}", cohort, count) for count in COHORTS}
    text = PAGE.format(python=platform.python_version(), torch=torch.__version__, cores=os.cpu_count())
    last = "last step, over a straight line by"
    parts = {
        "Images": table(["method", *(c.name for c in IMAGES), f"{last} pixels"], flat_rows),
        "Volumes": table(["method", *(c.name for c in VOLUMES), f"{last} voxels"], solid_rows),
        "Cohorts of small images": table(*cohort_rows(studies)),
        f"{given.knees} knees by the translator": table(*worker_rows(work)),
    }
    text += "\n\n".join(f"## {name}\n\n{body}" for name, body in parts.items())
    each = ", ".join(f"{name} {value:.1f}" for name, value in over.items())
    text += f"\n\nMilliseconds an image of 16 × 16 by `gradient` and one worker, with the disk: {each}.\n"
    print(text)
    if given.picture:
        cohorts = [(float(count), one["seconds"]) for count, one in studies.items()]
        panels: dict[str, tuple[str, Points]] = {
            "image, ResNet-50": ("pixels a side", flat),
            "volume, U-Net": ("voxels a side", solid),
            "cohort of small images": ("images", {"gradient": cohorts}),
            f"{given.knees} knees": (
                "workers",
                {kind: workers_of(kind, work) for kind in ("processes", "ray")},
            ),
        }
        drawn(panels, given.picture)
    if given.page:
        given.page.write_text(text, encoding="utf-8")


def cohort_rows(studies: dict[int, dict[str, float]]) -> tuple[list[str], list[list[str]]]:
    head = ["images", "seconds", "ms an image", "peak of the process, MB"]
    return head, [
        [str(n), f"{s['seconds']:.1f}", f"{1000 * s['seconds'] / (n - 1):.1f}", f"{s['megabytes']:.0f}"]
        for n, s in studies.items()
    ]


def worker_rows(work: dict[str, dict[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Images a second between the first result and the last."""
    rate = {name: (one["images"] - 1) / one["seconds"] for name, one in work.items()}
    base = next(iter(rate.values()))
    head = ["engine", "images a second", "over one process", "seconds until the first result"]
    return head, [
        [name, f"{one:.2f}", f"{one / base:.2f}", f"{work[name]['start']:.1f}"] for name, one in rate.items()
    ]


PAGE = """# How cost grows

    python -m experiments.speed.scale --data ../shared/data --page FILE --picture docs/pictures/scale.png

Python {python}, torch {torch}, {cores} cores, one thread in each process. Images and volumes: processor time of
one map, and its peak of memory beside what the process held before ([beside captum](speed_large.md)). Cohorts
and workers: wall time between the first result and the last.

![Seconds by the side of an image and of a volume, by images of a cohort, by workers](../pictures/scale.png)

"""


if __name__ == "__main__":
    main()
