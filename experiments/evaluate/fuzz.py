"""Change valid files of every kind that the package reads, and count what becomes of reading them.

    python -m experiments.evaluate.fuzz --page docs/results/fuzz.md

Each file is read in a worker process under limits of time and memory. It may be read, or refused by one line of
Contrafact's own that names the file; an exception of a library, a line that names nothing, anything printed, a
crash, a hang and too much memory are faults, and each is printed with the number of its file: `--only NUMBER`
makes that file again, in --keep, and shows the traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import multiprocessing as mp
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FILES, SEED = 10_000, 20
LARGEST = 2**22  # values of an image: 16 MiB as float32
SECONDS = 20.0
MEMORY = 512  # MiB above what the worker takes after it has read one valid file of every kind
PRINTED = "printed.txt"  # what a worker prints, in its folder
GOOD = ("read", "refused")
OUTCOMES = (*GOOD, "unclear", "printed", "foreign", "crash", "hang", "memory")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of reading one file; `about` says why, and where in the package."""

    number: int
    kind: str
    changed: str
    how: str
    about: str = ""


def plan(files: int, seed: int) -> list[str]:
    """The kind of every file, in random order; every kind has its share."""
    from experiments.evaluate.fuzz_files import KINDS

    shares = np.array([kind.share for kind in KINDS.values()])
    counts = np.maximum(1, np.floor(shares / shares.sum() * files)).astype(int)
    counts[: files - counts.sum()] += 1
    kinds = [name for name, count in zip(KINDS, counts, strict=True) for _ in range(count)]
    return [kinds[i] for i in np.random.default_rng(seed).permutation(len(kinds))][:files]


class Seeds:
    """A valid file of every kind, written once and copied for each change."""

    def __init__(self, folder: Path) -> None:
        from experiments.evaluate.fuzz_files import KINDS

        self.folder, self.kinds = folder, KINDS
        self.entries: dict[str, str] = {}

    def make(self, kind: str, number: int, seed: int, into: Path) -> tuple[Path, str]:
        """Write a changed file into an empty folder; return the path to read, and the name of what changed."""
        from experiments.evaluate.fuzz_changes import change

        shutil.copytree(self.valid(kind), into, dirs_exist_ok=True)
        rng, fixed = np.random.default_rng([seed, number]), self.kinds[kind].fixed
        entry, changed = change(into, self.entries[kind], rng, fixed=fixed)
        return into / entry, changed

    def valid(self, kind: str) -> Path:
        place = self.folder / kind.replace(" ", "_")
        if kind not in self.entries:
            place.mkdir(parents=True)
            self.entries[kind] = self.kinds[kind].write(place)
        return place


def attempt(read: Any, path: Path, changed: str) -> tuple[str, str]:
    """Read a file; return the outcome and why, for all that ends in an exception."""
    from contrafact.core import ContrafactError

    try:
        read(path)
    except ContrafactError as error:
        if any(isinstance(cause, MemoryError) for cause in causes(error)):
            return "memory", str(error)
        return ("refused", "") if clear(str(error), path, changed) else ("unclear", _one(error))
    except MemoryError as error:
        return "memory", _one(error)
    except BaseException as error:  # whatever a library raises is the finding
        return "foreign", _one(error)
    return "read", ""


def clear(text: str, path: Path, changed: str) -> bool:
    """Whether a message is one printable line that ends in words and names the file, or its folder."""
    names = [changed.partition(" (")[0], Path(changed.partition(" (")[0]).stem, path.name, path.parent.name]
    shown = [ascii(name)[1:-1] for name in names] + names
    one = "\n" not in text and text.isprintable() and not text.rstrip().endswith(":")
    return one and any(name and name in text for name in shown)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _one(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "contrafact" in f.filename]
    at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {at}: {' '.join(ascii(str(error))[1:-1].split())[:240]}"


def _peak(*, again: bool = False) -> int:
    """The peak of this process's memory in kB; `again` begins to measure anew."""
    if again:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    text = Path("/proc/self/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1])


def work(pipe: Any, kinds: list[str], seed: int, folder: str) -> None:
    """Read the files whose numbers come through the pipe, in a process of its own."""
    from contrafact.io import set_largest_image

    set_largest_image(LARGEST)
    place = Path(folder)
    printed = os.open(place / PRINTED, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    seeds = Seeds(place / "valid")
    for kind in dict.fromkeys(kinds):
        seeds.kinds[kind].read(seeds.valid(kind) / seeds.entries[kind])  # must be read: no seed is a fault
    usual = _peak(again=True)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 4 * 2**30, resource.RLIM_INFINITY))
    pipe.send("ready")
    while (number := pipe.recv()) is not None:
        case = place / "case"
        case.mkdir()
        path, changed = seeds.make(kinds[number], number, seed, case)
        _peak(again=True)
        os.ftruncate(printed, 0)  # what the change has printed
        pipe.send(changed)
        how, about = attempt(seeds.kinds[kinds[number]].read, path, changed)
        sys.stdout.flush()
        text = os.pread(printed, 2000, 0).decode("utf-8", "replace")
        if text and how in GOOD:
            how, about = "printed", ascii(" ".join(text.split()))[1:-1][:240]
        more = (_peak() - usual) // 1024
        if more > MEMORY and how in GOOD:
            how, about = "memory", f"{more} MiB more ({how})"
        shutil.rmtree(case)
        pipe.send((how, about))


class Worker:
    """A process that reads one file at a time; it is started again where a file ends it."""

    def __init__(self, kinds: list[str], seed: int) -> None:
        self.kinds, self.seed, self.process = kinds, seed, None  # type: ignore[var-annotated]
        self.folder = ""

    def start(self) -> None:
        context = mp.get_context("forkserver")
        context.set_forkserver_preload(["experiments.evaluate.fuzz_files"])
        self.folder = tempfile.mkdtemp(prefix="fuzz")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=work, args=(theirs, self.kinds, self.seed, self.folder), daemon=True
        )
        self.process.start()
        theirs.close()
        assert self.pipe.recv() == "ready"

    def read(self, number: int) -> Outcome:
        if self.process is None:
            self.start()
        kind, changed = self.kinds[number], "?"
        self.pipe.send(number)
        try:
            changed = self.pipe.recv()
            if not self.pipe.poll(SECONDS):
                self.end()
                return Outcome(number, kind, changed, "hang", f"more than {SECONDS:g} s")
            return Outcome(number, kind, changed, *self.pipe.recv())
        except EOFError:
            self.process.join()
            code, last = self.process.exitcode, (Path(self.folder) / PRINTED).read_text(errors="replace")
            self.end()
            return Outcome(number, kind, changed, "crash", f"exit code {code}: {last[-240:]!a}")

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.pipe.close()
            shutil.rmtree(self.folder, ignore_errors=True)
            self.process = None


def fuzz(files: int, seed: int, *, known: Collection[int] = ()) -> Iterator[Outcome]:
    """Read that many changed files, but for those of known numbers, and yield what became of each."""
    kinds = plan(files, seed)
    worker = Worker(kinds, seed)
    try:
        for number in range(len(kinds)):
            if number not in known:
                yield worker.read(number)
    finally:
        worker.end()


def page(outcomes: list[Outcome], seconds: float) -> str:
    """The counts as a table in Markdown: a row for each kind."""
    head = "| kind | files | " + " | ".join(OUTCOMES) + " |\n|" + " --- |" * (len(OUTCOMES) + 2) + "\n"
    counted: dict[str, Counter[str]] = {}
    for one in outcomes:
        counted.setdefault(one.kind, Counter())[one.how] += 1
    rows = [(name, counted[name]) for name in sorted(counted, key=str.lower)]
    rows.append(("**all**", sum(counted.values(), Counter())))
    lines = [f"| {n} | {c.total()} | " + " | ".join(str(c[o]) for o in OUTCOMES) + " |" for n, c in rows]
    return head + "\n".join(lines) + f"\n\n{len(outcomes):,} files in {seconds / 60:.0f} minutes on one core.\n"


def _known(log: Path) -> dict[int, Outcome]:
    """The outcomes of an earlier call, by number, but for faults, which are read again."""
    rows = [Outcome(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []
    return {one.number: one for one in rows if one.how in GOOD}


def _again(number: int, files: int, seed: int, keep: Path) -> None:
    """Make one file again and read it here, with its traceback."""
    from contrafact.io import set_largest_image

    set_largest_image(LARGEST)
    kind = plan(files, seed)[number]
    seeds = Seeds(Path(tempfile.mkdtemp()))
    keep.mkdir(parents=True)
    path, changed = seeds.make(kind, number, seed, keep)
    print(kind, changed, path, flush=True)
    print(seeds.kinds[kind].read(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--log",
        type=Path,
        help="file of the outcomes; files that it holds as read or refused are not read again",
    )
    parser.add_argument("--only", type=int, help="number of one file to make again")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="new folder for --only")
    parser.add_argument("--page", type=Path, help="file of the table")
    told = parser.parse_args()
    if told.only is not None:
        return _again(told.only, told.files, told.seed, told.keep)
    known = _known(told.log) if told.log else {}
    started, outcomes = time.monotonic(), list(known.values())
    for one in fuzz(told.files, told.seed, known=known):
        outcomes.append(one)
        if told.log:
            with told.log.open("a") as file:
                file.write(json.dumps(dataclasses.asdict(one)) + "\n")
        if one.how not in GOOD:
            print(f"{one.number} {one.kind} [{one.changed}]: {one.how}: {one.about}", flush=True)
        if len(outcomes) % 500 == 0:
            print(f"# {len(outcomes)} files, {time.monotonic() - started:.0f} s", flush=True)
    text = page(outcomes, time.monotonic() - started)
    print(text)
    if told.page:
        told.page.write_text(text)
    os._exit(0 if all(one.how in GOOD for one in outcomes) else 1)


if __name__ == "__main__":
    main()
