"""Answer a reader study as readers might, to see its results: no readers, only chance.

    python -m experiments.evaluate.simulated_readers --run RUN --answers FILE

Simulated readers answer "does this image show the finding?" over HTTP, as the page sends it, in every arm of a
crossover design, for a run with labels. Without AI each is right with a probability of their own; with AI they
take over the prediction in a share of the cases, and with an explanation less often where it is wrong. The
figures say nothing of people: they show that the tables follow the answers.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np

from contrafact.io import Run, open_run
from contrafact.viewer.reader_study.app import Reading, make_reading_app
from contrafact.viewer.reader_study.sessions import Design, Planned
from contrafact.viewer.reader_study.trials import Trial
from experiments.serving import serving

READERS = {
    "Reader 1": 0.72,
    "Reader 2": 0.78,
    "Reader 3": 0.80,
    "Reader 4": 0.75,
    "Reader 5": 0.84,
}  # right alone
FOLLOWS = {"none": 0.0, "ai": 0.6, "explained": 0.6}  # share of right predictions that are taken over
MISLED = {"none": 0.0, "ai": 0.5, "explained": 0.2}  # of wrong ones


def reading_of(run: Run, path: Path, cases: int = 20) -> Reading:
    """Return the study: decisions in three arms, without days between the sessions."""
    return Reading(run, tasks=("decide",), judgements=cases, path=path, design=Design(washout=0.0))


def answered(reading: Reading, *, seed: int = 0) -> None:
    """Let every reader answer every trial, over HTTP."""
    app = make_reading_app(reading, reader="r", owner="o")
    planned = reading.items()["decide"]
    assert isinstance(planned, Planned)
    with serving(app) as link:
        for number, (name, skill) in enumerate(READERS.items()):
            rng = np.random.default_rng([seed, number])
            _send(link, "/api/reader", {"name": name})
            for position, trial in enumerate(planned.trials(number, seed=reading.seed)):
                answer, confidence = _decision(trial, skill, rng)
                told = {"answer": answer, "confidence": confidence, "seconds": float(rng.gamma(6, 2))}
                _send(link, "/api/answer", {"reader": name, "position": position, **told})


def _decision(trial: Trial, skill: float, rng: np.random.Generator) -> tuple[str, int]:
    """Return a decision and how sure: surer where the reader is right, or follows the prediction."""
    right = trial.predicted == trial.truth
    if rng.uniform() < (FOLLOWS if right else MISLED)[trial.arm]:
        return str(trial.predicted), int(rng.integers(3, 6))
    if rng.uniform() < skill:
        return trial.truth, int(rng.integers(2, 6))
    return {"yes": "no", "no": "yes"}[trial.truth], int(rng.integers(1, 4))


def _send(link: str, path: str, body: Mapping[str, Any]) -> Any:
    headers = {
        "content-type": "application/json",
        "x-contrafact-token": "r",
        "host": link.removeprefix("http://"),
    }
    with urlopen(Request(link + path, json.dumps(body).encode(), headers)) as reply:
        return json.load(reply)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run with labels and counterfactuals")
    parser.add_argument("--answers", type=Path, required=True, help="file of the answers (SQLite), made anew")
    parser.add_argument("--cases", type=int, default=20)
    options = parser.parse_args()
    options.answers.unlink(missing_ok=True)
    reading = reading_of(open_run(options.run), options.answers, options.cases)
    answered(reading)
    print(f"contrafact reader-study {options.run} --task decide --washout 0 --judgements {options.cases}")


if __name__ == "__main__":
    main()
