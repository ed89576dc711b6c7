"""Kill the server of a reader study while a reader answers, and look for every answer that it took."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evaluate.fuzz_files import KINDS
from experiments.evaluate.kills_processes import log_of, start


def reader_study(told: argparse.Namespace) -> tuple[int, int, list[str]]:
    """Kill the server of a reader study while a reader answers; return kills, readers and faults."""
    rng, wrong, kills, readers = np.random.default_rng(told.seed), list[str](), 0, 0
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text) / "case"
        folder.mkdir()
        KINDS["run folder"].write(folder)
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
    Path(f"{folder}.log").unlink(missing_ok=True)
    process = start(["reader-study", str(folder / "run"), "--seed", "3", "--task", "worse"], folder)
    while not (match := re.search(r"for readers: http://127.0.0.1:(\d+)/\?token=(\S+)", log_of(folder))):
        if not process.is_alive():
            raise RuntimeError(f"the server did not begin: {log_of(folder)[-300:]}")
        time.sleep(0.02)
    return process, int(match[1]), match[2]


def _answer(
    port: int, token: str, reader: str, taken: Any, sent: Any, group: int, until: int, wait: float
) -> bool:
    """Answer trials; kill the server after some answers, a little later; return whether all are answered."""

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
