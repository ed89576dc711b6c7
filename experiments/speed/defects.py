"""Measure parts that were slow or large against plain references with the same values, in one run.

    python -m experiments.speed.defects --page docs/results/performance.md

Reference and package are measured in turns, in processor time of one core; medians of `--rounds`, with the
range in brackets. A slow reference is measured once. `python -m experiments.speed.defects blur` measures one
part.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor

from contrafact.attribution import GradientSHAP
from contrafact.attribution.relevance.linear_rules import linear_share
from contrafact.core import Heatmap, Image, Record
from contrafact.core.execution import explain
from contrafact.io import Run, open_run
from contrafact.io.packed_arrays import packed
from contrafact.io.stored_rows import row_flaw
from contrafact.models import TorchPredictor
from contrafact.models.example_networks import ResidualNetwork
from contrafact.models.region_targets import predicted
from contrafact.perturbation import fill_values
from contrafact.render.run_index import RunIndex
from contrafact.study.statistics import area_under_curve, bootstrap
from experiments.speed import peaks

Job = Callable[[], Any]
PAGE = "docs/results/performance.md"


def timed(job: Job) -> float:
    began = time.process_time()
    job()
    return 1000 * (time.process_time() - began)


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


def runs(rounds: int) -> list[str]:
    """A run of 20,000 images with five maps each, against reading the whole table at each call."""
    with tempfile.TemporaryDirectory() as folder:
        run = long_run(Path(folder) / "run", cases=20_000, methods=5)
        table = run.folder / "results.jsonl"
        run.done()

        def every_row() -> list[dict[str, Any]]:
            return [json.loads(line) for line in table.read_text().splitlines()]

        def listed() -> int:
            return sum(not row_flaw(row) and zipfile.is_zipfile(run.folder / "arrays" / row["array"])
                       for row in every_row())  # fmt: skip

        number = iter(range(10**9))
        heat, image = a_map()
        name = "of a run of 100,000 results"
        return [
            pair(f"`Run.done()` {name}", run.done, lambda: {row["key"] for row in every_row()}, rounds=rounds),
            pair(
                f"`Run.add()` to {name[3:]}",
                lambda: run.add(f"new {next(number)}", image, heat),
                lambda: (table.read_bytes().count(b"\n"), table.read_bytes().endswith(b"\n")),
                rounds=rounds,
            ),
            pair(
                f"list {name} in the viewer, first opening",
                lambda: RunIndex(open_run(run.folder)).cases(),
                listed,
                rounds=min(rounds, 3),
            ),
            pair(
                f"see that the arrays {name} are whole (a study goes on; reference: open each)",
                lambda: open_run(run.folder).unreadable(run.done()),
                lambda: [np.load(path)["values"] for path in (run.folder / "arrays").iterdir()],
                rounds=1,
                plain_rounds=1,
            ),
        ]


def a_map() -> tuple[Heatmap, Image]:
    image = Image(np.zeros((1, 16, 16), np.float32), source="cohort/patient.png")
    record = Record(
        method="occlusion", parameters={"box": [16, 16], "stride": [8, 8], "fill": "blur", "batch": 64},
        target="class:1", model="a" * 64, image=image.digest, source=image.source, seed=0,
        versions={"python": "3.11", "contrafact": "0.1.0", "torch": "2.8", "numpy": "2.0", "captum": "0.9"},
        seconds=0.1, forward_passes=65.0, peak_memory_mb=800.0, notes={"completeness": 0.01},
    )  # fmt: skip
    return Heatmap(values=np.ones((16, 16), np.float32), grid=image.grid, record=record), image


def long_run(folder: Path, *, cases: int, methods: int) -> Run:
    """A run of copies of one result; the files of its arrays are links to a few."""
    run, (heat, image) = Run.create(folder, about={"title": "long"}), a_map()
    trust = [{"name": "stability", "passed": False, "value": 0.3, "sentence": "small noise changes the map"}]
    answers = ["pneumonia: 0.87", "normal: 0.13"]
    run.add("first", image, heat, model_name="densenet", answers=answers, target_name="pneumonia", trust=trust)
    row, arrays, lines = run.rows()[0], folder / "arrays", list[str]()
    first = arrays / row["array"]
    for number in range(cases * methods):
        case, method = divmod(number, methods)
        key = hashlib.sha256(f"{number}".encode()).hexdigest()
        path = arrays / f"{number:05d}-{key[:8]}.npz"
        if number % 60_000:
            os.link(first, path)
        else:
            first = Path(shutil.copy(first, path))
        about = path.stat()
        own = {"case": f"patient_{case:05d}", "source": f"cohort/patient_{case:05d}.png"}
        digest = hashlib.sha256(f"{case}".encode()).hexdigest()
        record = {**row["record"], "image": digest, "source": own["source"], "method": f"method-{method}"}
        stored = [about.st_size, about.st_mtime_ns, *row["stored"][2:]]  # and those of the image, which is one
        line = {**row, "key": key, "array": path.name, "stored": stored, **own, "record": record}
        lines.append(json.dumps(line))
    (arrays / row["array"]).unlink()
    (folder / "results.jsonl").write_text("\n".join(lines) + "\n")
    return run


def packing(rounds: int) -> list[str]:
    """Files of arrays against NumPy's compressed ones; the size of both beside it."""
    values = np.random.default_rng(0).standard_normal((96, 96, 96)).astype(np.float32)
    rows = []
    for name, array in (("a map", values), ("an image in HU", np.round(values * 40))):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.npz"

            def plain(array: Any = array, path: Path = path) -> None:
                np.savez_compressed(path, values=array)

            plain()
            sizes = f"{path.stat().st_size / 1e6:.1f} and {len(packed({'values': array})) / 1e6:.1f} MB"
            rows.append(
                pair(
                    f"the file of {name} of 96³ ({sizes})",
                    lambda array=array, path=path: path.write_bytes(packed({"values": array})),
                    plain,
                    rounds=rounds,
                )
            )
    return rows


def regions(rounds: int) -> list[str]:
    """Where a segmenter of five classes predicts one, against `argmax`."""
    outputs = torch.randn(1, 5, 96, 96, 96, generator=torch.Generator().manual_seed(0))
    return [
        pair(
            "voxels of one of five classes at 96³",
            lambda: predicted(outputs, "logits", 2, None),
            lambda: outputs.argmax(dim=1) == 2,
            rounds=rounds,
        )
    ]


def intervals(rounds: int) -> list[str]:
    """Intervals of a study, against resamples drawn in 64-bit numbers, and an AUC for each resample."""
    rng, count = np.random.default_rng(0), 20_000
    values, labels = rng.random(count), rng.random(count) < 0.3
    patients = [f"{number:05d}" for number in range(count)]
    few = slice(0, 2000)

    def plain() -> Any:
        draw = np.random.default_rng(0)
        means = [values[draw.integers(count, size=(200, count))].mean(axis=1) for _ in range(10)]
        return np.percentile(np.concatenate(means), [2.5, 97.5])

    def plain_area() -> Any:
        draw = np.random.default_rng(0)
        rows = (draw.integers(2000, size=2000) for _ in range(400))
        return np.percentile([roc_auc_score(labels[row], values[row]) for row in rows], [2.5, 97.5])

    def area() -> Any:
        return area_under_curve(values[few], labels[few], patients[few])

    return [
        pair("interval of a mean over 20,000 patients", lambda: bootstrap(values), plain, rounds=rounds),
        pair("interval of an AUC over 2,000 patients", area, plain_area, rounds=rounds),
    ]


def gradients(rounds: int) -> list[str]:
    """GradientSHAP of one image, against one pass for each point; the gamma rule of one layer, against each
    term of its sums."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ResidualNetwork(width=16, stages=3).eval()
    predictor = TorchPredictor(network, classes=["a", "b"])
    image = Image(np.random.default_rng(0).random((1, 64, 64), dtype=np.float32))
    shap, target = GradientSHAP(), predictor.target("class:1")

    def plain() -> None:
        for _ in range(shap.samples):
            point = torch.from_numpy(image.values[None]).requires_grad_()
            torch.autograd.grad(target(predictor(point)).sum(), point)

    rng = torch.Generator().manual_seed(0)
    x, relevance = (torch.randn(1, 16, 32, 32, 32, generator=rng).relu() for _ in range(2))
    weight, bias = torch.randn(16, 16, 3, 3, 3, generator=rng), torch.randn(16, generator=rng)

    def run(v: Tensor, w: Tensor | None, b: Tensor | None) -> Tensor:
        return F.conv3d(v, torch.as_tensor(w), b, padding=1)

    def terms() -> Tensor:
        more, less = weight.clamp_min(0), weight.clamp_max(0)
        up, down = x.clamp_min(0).requires_grad_(), x.clamp_max(0).requires_grad_()
        zero, z = run(torch.zeros_like(x), weight, bias), run(up + down, weight, bias)
        plus = run(up, more, bias) + run(down, less, bias) - 2 * zero + zero.clamp_min(0)
        minus = run(up, less, bias) + run(down, more, bias) - 2 * zero + zero.clamp_max(0)
        agreed = z + 0.25 * torch.where(z >= 0, plus, minus)
        slopes = torch.autograd.grad(agreed, (up, down), (relevance / agreed).detach())
        return up * slopes[0] + down * slopes[1]

    zero = bias.reshape(-1, 1, 1, 1)
    return [
        pair(
            "`gradient-shap` of one image of 64², 32 points",
            lambda: explain(shap, predictor, [image], target=target),
            plain,
            rounds=rounds,
        ),
        pair(
            "gamma rule of a layer of 16 channels at 32³, inputs not negative",
            lambda: linear_share(run, weight, bias, relevance, x, "gamma", zero=zero),
            terms,
            rounds=rounds,
        ),
    ]


def start(rounds: int) -> list[str]:
    """`contrafact explain` of one image in a new process, against the same after the imports of before."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.npy"
        np.save(image, np.random.default_rng(0).uniform(0, 255, (64, 64)).astype(np.float32))
        words = ["explain", str(image), "--bundle", "phantom", "--methods", "gradcam", "--no-checks", "--out"]
        before = "import monai.networks.nets.resnet, scipy.stats, sklearn.metrics"

        def once(first: str) -> float:
            code = f"{first}\nimport sys\nfrom contrafact.cli import main\nmain(sys.argv[1:])"
            out = tempfile.mkdtemp(dir=folder)
            began = sum(os.times()[2:4])
            program = [sys.executable, "-c", code, *words, str(Path(out) / "run")]
            subprocess.run(program, check=True, capture_output=True)
            return 1000 * (sum(os.times()[2:4]) - began)

        once("")
        times = [(once(before), once("")) for _ in range(rounds)]
        plain, now = (list(part) for part in zip(*times, strict=True))
        ratio = statistics.median(plain) / statistics.median(now)
        what = "`explain` of one image with Grad-CAM, the whole process"
        row = f"| {what} | {spread(plain)} | {spread(now)} | {ratio:.3g} |"
        print(row, flush=True)
        return [row]


PARTS: dict[str, Callable[[int], list[str]]] = {
    "blur": blur,
    "runs": runs,
    "packing": packing,
    "regions": regions,
    "intervals": intervals,
    "gradients": gradients,
    "start": start,
}
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
        f"`python -m experiments.speed.defects --rounds {rounds} --page {PAGE}` on one core of",
        f"{cpu} ({versions}, contrafact {version('contrafact')}):",
        f"processor time, medians of {rounds} rounds in turns, the range in brackets, the reference over the",
        "package as the ratio. The references are plain implementations with the same values; tests compare",
        "the values and count rows, passes and memory.",
        "",
        *HEAD,
        *rows,
        "",
        "What a map holds at its peak, beside what the process held before (`experiments.speed.peaks`, part of",
        "the same command). Without limits is what it was: 64 changed images at once, and the gradients of all",
        "points.",
        "",
        *peaks.HEAD,
        *peaks.rows(),
        "",
        "The viewer reads the table of a run once; what is appended later is read alone. `Run.rows()` of such",
        "a run still makes 100,000 dictionaries and takes as long as before: a report or an export calls it",
        "once.",
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
