"""Kill study, explain, fit, export and reader study at random moments, go on, and compare the end.

    python -m experiments.evaluate.kills --kills 20

Each command runs in a process group of its own, which is ended by SIGKILL once or twice in each trial: after a
share of the processor time that an undisturbed run takes, or just before one of the changes that it makes to
files, both drawn evenly. Then it runs to its end. What it leaves must equal what the undisturbed run left: the
same results, nothing lost, nothing twice, no file that is half written. A reader study is asked by readers:
every answer that the server took must be there, and the study goes on with the next one.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evaluate.kills_processes import Moment, changes_of, run_until
from experiments.evaluate.kills_reader import reader_study

SEED = 16
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


# "auto" times one step, and may choose another precision where nothing was saved yet.
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
precision = "fp32"
"""
LATENT_FIT = """name = "toy"
out = "out"
[data]
path = "images"
window = [0, 255]
[models.m]
path = "model.json"
[generator]
resolution = 16
channel_base = 64
channel_max = 8
z_dim = 8
w_dim = 8
[training]
kimg = 0.024
batch = 8
precision = "fp32"
[encoder]
steps = 2
batch = 2
width = 4
precision = "fp32"
[direction]
samples = 64
anchors = 8
draws = 8
bootstrap = 2
"""


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


def _fit_inputs(text: str, count: int) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        from PIL import Image as Picture

        from experiments.evaluate.fuzz_files import KINDS

        KINDS["description"].write(folder)
        (folder / "images").mkdir()
        for number in range(count):
            array = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
            Picture.fromarray(array).save(folder / "images" / f"{number}.png")
        (folder / "fit.toml").write_text(text)

    return prepare


def _run_inputs(folder: Path) -> None:
    from experiments.evaluate.fuzz_files import KINDS

    KINDS["run folder"].write(folder)


def run_left(folder: Path) -> Any:
    """What a run folder holds, without times, names and sizes of files. Raise RuntimeError for a key twice."""
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
        kept = {name: value for name, value in row.items() if name not in ("array", "stored")}
        results[row["key"]] = (kept, arrays)
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


def _fit_words(folder: Path) -> list[str]:
    return ["fit", str(folder / "fit.toml"), "--resume", "--device", "cpu"]


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
    "fit, translator": Trial(_fit_inputs(FIT, 128), _fit_words, fit_left),
    "fit, latent space": Trial(_fit_inputs(LATENT_FIT, 24), _fit_words, fit_left),
    "export": Trial(
        _run_inputs, lambda f: ["export", str(f / "run"), "--to", "nifti", "--out", str(f / "out")], files_left
    ),
    "export, pictures": Trial(
        _run_inputs, lambda f: ["export", str(f / "run"), "--to", "png", "--out", str(f / "out")], files_left
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What a command that nothing ends takes and leaves: processor time, changes of files, what is compared."""

    cpu: float
    changes: int
    left: Any

    def moment(self, rng: np.random.Generator) -> Moment:
        """Return a moment to end the command, by time or by changes with equal chances."""
        if rng.random() < 0.5:
            return Moment(cpu=float(rng.uniform(0.02, 0.98)) * self.cpu)
        return Moment(change=int(rng.integers(1, self.changes + 1)))


def attempt(trial: Trial, folder: Path, whole: Undisturbed, rng: np.random.Generator) -> tuple[int, str]:
    """Kill a command once or twice and let it go on to its end; return the number of kills, and what is wrong
    with what it leaves."""
    kills, moments = 0, [whole.moment(rng) for _ in range(int(rng.integers(1, 3)))]
    try:
        for moment in moments:
            kills += run_until(trial.words(folder), folder, moment)[1]
        run_until(trial.words(folder), folder)
        parts = [path.name for path in folder.rglob("*.part")]
        if parts:
            return kills, f"{moments}: it left {', '.join(parts)}"
        return kills, _differs(trial.left(folder), whole.left, moments)
    except (RuntimeError, ValueError) as error:
        return kills, f"{moments}: {' '.join(str(error).split())[:600]}"


def _differs(left: Any, expected: Any, moments: list[Moment]) -> str:
    if left == expected:
        return ""
    both = (left, expected) if isinstance(left, dict) else ({}, {})
    names = sorted(name for name in {**both[0], **both[1]} if both[0].get(name) != both[1].get(name))
    return f"{moments}: it left something else than the undisturbed run {', '.join(names)}"


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
    trial, rng = TRIALS[name], np.random.default_rng([told.seed, *name.encode()])
    with tempfile.TemporaryDirectory() as text:
        valid, case = Path(text) / "valid", Path(text) / "case"  # results may name the path of a case
        valid.mkdir()
        trial.prepare(valid)
        shutil.copytree(valid, case)
        cpu, _ = run_until(trial.words(case), case)
        whole = Undisturbed(cpu, changes_of(case), trial.left(case))
        kills, trials, wrong = 0, 0, []
        while kills < told.kills:
            shutil.rmtree(case)
            shutil.copytree(valid, case)
            trials += 1
            done, flaw = attempt(trial, case, whole, rng)
            kills += done
            wrong += [f"trial {trials}: {flaw}"] if flaw else []
    return kills, trials, wrong


if __name__ == "__main__":
    main()
