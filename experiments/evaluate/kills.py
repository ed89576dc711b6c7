"""Kill study, explain, fit, export and reader study at random moments, go on, and compare the end.

    python -m experiments.evaluate.kills --kills 20

Each command runs in a process group of its own, which is ended by SIGKILL after a share of the processor time
that an undisturbed run takes, drawn evenly, once or twice in each trial. Then it runs to its end. What it
leaves must equal what the undisturbed run left: the same results, nothing lost, nothing twice. A reader study
is asked by readers: every answer that the server took must be there, and the study goes on with the next one.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import multiprocessing as mp
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SEED = 16
WAIT = 300.0  # seconds until a run counts as hanging
STUDY = """images = ["*.npy"]
out = "run"
targets = ["class:1"]
[model]
path = "model.json"
[methods.gradient]
[methods.occlusion]
box = [8, 8]
stride = [8, 8]
[methods.smooth]
inner = { name = "gradient" }
samples = 4
[metrics.sparseness]
[metrics.effective-mass]
"""


FIT = """name = "toy"
out = "out"
[data]
path = "images"
window = [0, 255]
[models.m]
path = "model.json"
[generator]
family = "translator"
resolution = 16
widths = [4, 8]
[training]
kimg = 0.96
batch = 32
features = "none"
"""


def command(words: list[str], log: str) -> None:
    """Run a command line in this process, as the leader of a group, with what it prints in a file."""
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    from contrafact.cli import main as run

    sys.exit(run(words))


def start(words: list[str], folder: Path) -> Any:
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["experiments.evaluate.fuzz_files", "contrafact.cli"])
    process = context.Process(target=command, args=(words, str(folder / "log.txt")))
    process.start()
    return process


def cpu_of(group: int) -> float:
    """Return the processor time of the processes of a group, in seconds."""
    total = 0.0
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                if int((place / "stat").read_text().rsplit(")", 1)[1].split()[2]) == group:
                    total += int((place / "schedstat").read_text().split()[0]) / 1e9
    return total


def run_until(words: list[str], folder: Path, cpu: float | None) -> float:
    """Run a command to its end, or kill its group after that much processor time; return what it took.

    raises  RuntimeError for a command that ends by itself with an error, or never
    """
    process, began, took = start(words, folder), time.monotonic(), 0.0
    while process.is_alive():
        took = max(took, cpu_of(process.pid))
        if cpu is not None and took >= cpu:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.join()
            return took
        if time.monotonic() - began > WAIT:
            process.kill()
            raise RuntimeError(f"{words[0]} hangs")
        process.join(0.01)
    if process.exitcode:
        raise RuntimeError(
            f"{words[0]} ended with {process.exitcode}: {(folder / 'log.txt').read_text()[-500:]}"
        )
    return took


@dataclass(frozen=True, slots=True)
class Trial:
    """A command to kill: its inputs, its words, and what it leaves, to compare."""

    prepare: Callable[[Path], None]
    words: Callable[[Path], list[str]]
    left: Callable[[Path], Any]


def _inputs(folder: Path) -> None:
    from experiments.evaluate.fuzz_files import KINDS

    KINDS["description"].write(folder)
    for number in range(3):
        array = np.random.default_rng(number).integers(0, 256, (1, 16, 16), dtype=np.uint8)
        np.save(folder / f"{number}.npy", array)
    (folder / "study.toml").write_text(STUDY)


def _fit_inputs(folder: Path) -> None:
    from PIL import Image as Picture

    from experiments.evaluate.fuzz_files import KINDS

    KINDS["description"].write(folder)
    (folder / "images").mkdir()
    for number in range(128):
        array = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
        Picture.fromarray(array).save(folder / "images" / f"{number}.png")
    (folder / "fit.toml").write_text(FIT)


def _run_inputs(folder: Path) -> None:
    from experiments.evaluate.fuzz_files import KINDS

    KINDS["run folder"].write(folder)


def run_left(folder: Path) -> Any:
    """What a run folder holds, without times and names of files. Raise RuntimeError for a key twice."""
    from contrafact.io import open_run

    run = open_run(folder / "run")
    rows = run.rows()
    for name in ("results.jsonl", "scores.jsonl"):
        path = run.folder / name
        keys = [row["key"] for row in _lines(path)]
        if len(keys) != len(set(keys)):
            raise RuntimeError(f"{name} holds a key twice")
    results = {}
    for row in rows:
        arrays = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in run.arrays(row).items()}
        results[row["key"]] = ({name: value for name, value in row.items() if name != "array"}, arrays)
    summary = run.folder / "summary.json"
    tables = json.loads(summary.read_text()) if summary.exists() else None
    return timeless([results, run.scores(), tables, run.failures(), sorted(run.methods()), run.manifest()])


def timeless(value: Any) -> Any:
    """Return a value without the seconds and the memory that something took."""
    if isinstance(value, dict):
        return {
            key: timeless(inner) for key, inner in value.items() if key not in ("seconds", "peak_memory_mb")
        }
    return [timeless(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _lines(path: Path) -> list[Any]:
    found = []
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return [row for row in found if isinstance(row, dict)]


def files_left(folder: Path) -> dict[str, str]:
    """The digests of all files that an export wrote, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "out").rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def fit_left(folder: Path) -> dict[str, str]:
    """The digests of what a fit wrote, without the time that its training has taken."""
    from contrafact.io import read_tensors

    found = {name: digest for name, digest in files_left(folder).items() if "checkpoint" not in name}
    state = {
        k: v for k, v in read_tensors(folder / "out" / "checkpoint.safetensors").items() if "second" not in k
    }
    state.pop("history", None)
    text = [(name, tensor.numpy().tobytes()) for name, tensor in sorted(state.items())]
    return {**found, "checkpoint": hashlib.sha256(repr(text).encode()).hexdigest()}


TRIALS: dict[str, Trial] = {
    "study": Trial(
        _inputs, lambda f: ["study", str(f / "study.toml"), "--engine", "local", "--json"], run_left
    ),
    "explain": Trial(
        _inputs,
        lambda f: [
            "explain", *(str(f / f"{n}.npy") for n in range(3)), "--model", str(f / "model.json"), "--methods",
            "gradient,occlusion", "--target", "class:1", "--out", str(f / "run"), "--json",
        ],
        run_left,
    ),
    "fit": Trial(_fit_inputs, lambda f: ["fit", str(f / "fit.toml"), "--resume", "--device", "cpu"], fit_left),
    "export": Trial(
        _run_inputs, lambda f: ["export", str(f / "run"), "--to", "nifti", "--out", str(f / "out")], files_left
    ),
    "export, pictures": Trial(
        _run_inputs, lambda f: ["export", str(f / "run"), "--to", "png", "--out", str(f / "out")], files_left
    ),
}  # fmt: skip


def attempt(trial: Trial, work: Path, valid: Path, expected: Any, cpu: float, rng: np.random.Generator) -> int:
    """Kill a command once or twice and let it go on to its end; return the number of kills.

    raises  RuntimeError where it leaves something else than the undisturbed run
    """
    folder, kills = work / "case", 0
    shutil.copytree(valid, folder)
    try:
        for _ in range(int(rng.integers(1, 3))):
            run_until(trial.words(folder), folder, float(rng.uniform(0.02, 0.98)) * cpu)
            kills += 1
        run_until(trial.words(folder), folder, None)
        if trial.left(folder) != expected:
            raise RuntimeError("it left something else than the undisturbed run")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="kills of each command, at least")
    parser.add_argument("--only", help="one command")
    parser.add_argument("--seed", type=int, default=SEED)
    told = parser.parse_args()
    print("| command | kills | trials | other than undisturbed |\n| --- | --- | --- | --- |", flush=True)
    bad = 0
    for name in [told.only] if told.only else [*TRIALS, "reader study"]:
        kills, trials, wrong = reader_study(told) if name == "reader study" else of_command(name, told)
        print(f"| {name} | {kills} | {trials} | {len(wrong)} |", flush=True)
        for line in wrong:
            print(f"#   {line}", flush=True)
        bad += len(wrong)
    sys.exit(bool(bad))


def of_command(name: str, told: argparse.Namespace) -> tuple[int, int, list[str]]:
    """Return kills, trials and faults of one command."""
    trial, rng = TRIALS[name], np.random.default_rng([told.seed, len(name)])
    with tempfile.TemporaryDirectory() as text:
        work = Path(text)
        valid, undisturbed = work / "valid", work / "case"
        valid.mkdir()
        trial.prepare(valid)
        shutil.copytree(valid, undisturbed)  # at the same path as the trials, which results may name
        cpu = run_until(trial.words(undisturbed), undisturbed, None)
        expected = trial.left(undisturbed)
        shutil.rmtree(undisturbed)
        kills, trials, wrong = 0, 0, []
        while kills < told.kills:
            trials += 1
            try:
                kills += attempt(trial, work, valid, expected, cpu, rng)
            except (RuntimeError, ValueError) as error:
                kills += 1
                wrong.append(f"trial {trials}: {' '.join(str(error).split())[:600]}")
    return kills, trials, wrong


def reader_study(told: argparse.Namespace) -> tuple[int, int, list[str]]:
    """Kill the server of a reader study while a reader answers; return kills, readers and faults."""
    rng, wrong, kills, readers = np.random.default_rng(told.seed), list[str](), 0, 0
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        _run_inputs(folder)
        taken: dict[tuple[str, int], str] = {}
        sent: dict[tuple[str, int], str] = {}
        while kills < told.kills:
            reader = f"Reader {readers}"
            process, port, token = _served(folder)
            until = int(rng.integers(1, 4))
            done = _answer(port, token, reader, taken, sent, process.pid, until, float(rng.uniform(0, 0.02)))
            process.join(30)
            kills += 1
            wrong += [] if not process.is_alive() else [f"{reader}: the server outlived SIGKILL"]
            wrong += _checked(folder, taken, sent)
            readers += done
    return kills, max(readers, 1), wrong


def _served(folder: Path) -> tuple[Any, int, str]:
    log = folder / "log.txt"
    log.unlink(missing_ok=True)
    process = start(["reader-study", str(folder / "run"), "--seed", "3", "--task", "worse"], folder)
    while not (found := re.search(r"for readers: http://127.0.0.1:(\d+)/\?token=(\S+)", _text(log))):
        if not process.is_alive():
            raise RuntimeError(f"the server did not begin: {_text(log)[-300:]}")
        time.sleep(0.02)
    return process, int(found[1]), found[2]


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _answer(
    port: int, token: str, reader: str, taken: Any, sent: Any, group: int, until: int, wait: float
) -> bool:
    """Answer trials; kill the server after some answers, a little later; return whether all are answered."""
    import threading

    def ask(path: str, body: Any = None) -> Any:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        head = {"x-contrafact-token": token, "content-type": "application/json"}
        with contextlib.closing(line):
            line.request("POST" if body else "GET", path, json.dumps(body) if body else None, head)
            answer = line.getresponse()
            content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
        return json.loads(content)

    finished, count = False, 0
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):  # the server dies in between
        entered = ask("/api/reader", {"name": reader})
        there = sum(1 for name, _ in taken if name == reader)
        if entered["done"] < there:
            raise RuntimeError(f"{reader} goes on at {entered['done']} after {there} answers that were taken")
        while not finished:
            trial = ask(f"/api/trial?reader={reader.replace(' ', '%20')}")
            finished = bool(trial["finished"])
            if finished:
                break
            place = (reader, trial["done"])
            sent[place] = trial["choices"][count % 2]
            if count + 1 == until:
                threading.Timer(wait, os.killpg, (group, signal.SIGKILL)).start()
            ask("/api/answer", {"reader": reader, "position": place[1], "answer": sent[place], "seconds": 1.0})
            taken[place] = sent[place]
            count += 1
    if finished:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    return finished


def _checked(folder: Path, taken: Any, sent: Any) -> list[str]:
    """Return what is wrong with the answers on disk: lost, doubled, or never sent."""
    from contrafact.viewer.reader_study.answers import Answers

    lines = Answers(folder / "run" / "reading.sqlite").lines()
    kept = {(line["reader"], line["position"]): line["answer"] for line in lines if line["answer"]}
    wrong = [f"lost: {place}" for place, answer in taken.items() if kept.get(place) != answer]
    return wrong + [f"never sent: {place}" for place, answer in kept.items() if sent.get(place) != answer]


if __name__ == "__main__":
    main()
