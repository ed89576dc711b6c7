"""A first map of every kind of model: what is typed, seconds, whether it is right, and what it takes elsewhere.

    python -m experiments.evaluate.first_contact --page docs/results/first_contact.md

Small models are made in a temporary folder, so that the place of the evidence is known. `--before FOLDER` is a
checkout of an earlier commit whose errors are compared. `--only NAME` runs kinds whose name holds it, and
writes no page.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import site
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.io import open_run
from experiments.evaluate import first_contact_files as files
from experiments.evaluate.first_contact_errors import errors_table
from experiments.evaluate.first_contact_files import Made
from experiments.evaluate.first_contact_kinds import Kind, kinds
from experiments.evaluate.first_contact_scripts import LIBRARIES, cell
from experiments.tables import table

TIMED = """import sys, time
began = time.perf_counter()
import torch
open("importing.txt", "w").write(str(time.perf_counter() - began))
"""
VISION = """from vision_operators import has_torchvision
has_torchvision()
"""
START = """from contrafact.cli import main
sys.exit(main(sys.argv[1:]))
"""
NEED_VISION = ("timm", "torchvision", "transformers", "segmentation_models_pytorch")


class Answers(BaseHTTPRequestHandler):
    """A server of the Open Inference Protocol v2 with the network of `nets.py`."""

    network: Any = None

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def _answer(self, about: Any) -> None:
        body = json.dumps(about).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        about = {"name": "images", "datatype": "FP32", "shape": [-1, 1, 64, 64]}
        self._answer({"name": "spots", "inputs": [about], "outputs": [{"name": "scores"}]})

    def do_POST(self) -> None:
        (given,) = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]
        with torch.no_grad():
            scores = self.network(torch.tensor(given["data"]).reshape(given["shape"]))
        output = {"name": "scores", "shape": list(scores.shape), "datatype": "FP32"}
        self._answer({"outputs": [{**output, "data": scores.flatten().tolist()}]})


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The address of the stub while it answers."""
    Answers.network = files.spots(Path())
    one = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=one.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{one.server_port}/v2/models/spots"
    one.shutdown()
    thread.join()
    one.server_close()


def run(folder: Path, words: tuple[str, ...], *, code: str = START) -> tuple[float, str]:
    """Seconds of a program in a folder, and the last line of its errors if it failed."""
    places = [str(Path(part).resolve()) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*places, str(folder)])}
    began = time.perf_counter()
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    return seconds, "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no word"])[-1]


def judged(made: Made, heat: NDArray[Any]) -> str:
    """Whether a map is right: the centre of its strongest hundredth is in the cause, or it is the reference."""
    if made.reference is not None:
        if made.reference.shape != heat.shape:
            return f"no: {heat.shape} instead of {made.reference.shape}"
        alike = float(np.corrcoef(heat.ravel(), made.reference.ravel())[0, 1])
        return f"yes, r = {alike:.4f}" if alike > 0.999 else f"no: r = {alike:.4f}"
    assert made.cause is not None
    count = max(1, heat.size // 100)
    strongest = np.argsort(heat, axis=None)[-count:]
    strongest = strongest[heat.ravel()[strongest] > 0]
    places = np.unravel_index(strongest, heat.shape)
    centre = [round(float(axis.mean())) for axis in places] if len(strongest) else None
    found = centre is not None and bool(made.cause[tuple(centre)])
    return "yes" if found else f"no: centre at {centre}"


def measured(name: str, kind: Kind, folder: Path) -> list[str]:
    """A row of the table."""
    if kind.needs and not files.knows(kind.needs):
        return [name, f"not run: {kind.needs} is not installed here", "", "", "", "", *("–" for _ in LIBRARIES)]
    made = kind.make(folder)
    start = VISION * (kind.needs in NEED_VISION and files.knows("vision_operators"))
    commands = [*made.before, ("explain", *made.words)]
    if made.python:
        seconds, error = run(folder, (), code=TIMED + made.python)
        typed = "<br>".join(f"`{line}`" for line in made.python.splitlines())
        lines = str(sum(not line.startswith(("import ", "from ")) for line in made.python.splitlines()))
    else:
        spent = [run(folder, words, code=TIMED + start + START) for words in commands]
        seconds, error = sum(s for s, _ in spent), " ".join(e for _, e in spent if e)
        texts = ["contrafact " + shlex.join(words) for words in commands]
        typed = "<br>".join(f"`{text}`" for text in texts)
        lines = f"{sum(1 + len(words) for words in commands)} words"
    if error:
        right = f"no: {error}"
    elif made.python:
        right = judged(made, np.load(folder / "map.npy"))
    else:
        opened = open_run(folder / "runs/explain")
        right = judged(made, opened.arrays(opened.rows()[0])["values"])
    importing = len(commands) * float((folder / "importing.txt").read_text())
    others = [cell(one, kind.other, folder, installed=files.knows(LIBRARIES[one])) for one in LIBRARIES]
    return [name, typed, lines, f"{seconds:.1f}", f"{importing / seconds:.0%}", right, *others]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit, for its errors")
    parser.add_argument("--only", default="")
    parser.add_argument(
        "--keep", type=Path, help="rows as they are measured; those in it are not measured again"
    )
    parser.add_argument("--mistakes", action="store_true", help="print the table of mistakes alone")
    options = parser.parse_args()
    files.prepare()
    if options.mistakes:
        with tempfile.TemporaryDirectory() as place:
            print(errors_table(Path(place), options.before))
        return
    kept = options.keep.read_text().splitlines() if options.keep and options.keep.exists() else []
    known = {row[0]: row for row in map(json.loads, kept)}
    rows: list[list[str]] = []
    with server() as address, tempfile.TemporaryDirectory() as place:
        site.addsitedir(place)
        (Path(place) / "nets.py").write_text(files.NETS)
        for number, (name, kind) in enumerate(kinds(address).items()):
            if options.only not in name:
                continue
            folder = Path(place) / str(number)
            folder.mkdir()
            rows.append(known.get(name) or measured(name, kind, folder))
            print(" | ".join(rows[-1]), flush=True)
            if options.keep and name not in known:
                with options.keep.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
        if options.only:
            return
        load = os.getloadavg()[2]
        faults = errors_table(Path(place), options.before)
    head = ["model", "typed", "words or lines", "s", "import torch", "right", *LIBRARIES]
    if options.page:
        options.page.write_text(PAGE.format(kinds=table(head, rows), faults=faults, load=load))


PAGE = """# First contact

`python -m experiments.evaluate.first_contact --before FOLDER --page docs/results/first_contact.md`, with
FOLDER a checkout of f546420, the commit before models were taken in one line; `--mistakes` prints the second
table alone.

What somebody with a model meets first: what is typed, how long it takes, and whether the map is right.

**How to read it**

* *typed*: all that is typed, with the files already there. A description takes two commands. Python: words
  do not compare, so the lines that are no import are given.
* *s*: seconds of wall clock from the start of the command to its end, with the report and the reliability
  checks written (the commands do not say `--no-checks`), once each. The machine has two slow cores, was
  shared and busy (a load of {load:.0f}), so a row may be twice another for no reason of its own. *import
  torch*: the share of these seconds that `import torch` took in the same process.
* *right*: "yes": the centre of the strongest hundredth of the map is inside what was planted, a lesion in
  tissue or the marker of a knee, which is all that the model reads. "yes, r": of networks with random
  weights, the correlation with the gradient of the same score by torch alone, with the library's own
  network and a preprocessing that is written out anew.
* *captum* and the others: lines of the shortest script that we could write for the same files, in Python:
  neither blank nor an import; the user's own network is not counted. Each was run; what failed is said.
  "–": there is no such script without writing the method (a library that needs a torch module, for a graph
  of ONNX; a segmenter, for one whose target is an index), or none was written (nnU-Net, the bundle).
  pytorch-grad-cam and torchcam make Grad-CAM, not the gradient. That they ran does not say that their map
  is right.

{kinds}

**Where others are shorter or nearly so.** With a torch module in memory, captum, MONAI and pytorch-grad-cam
take as many lines as Contrafact. A command line for a file of weights is long: it names the factory, allows
its code (`--trust-code`), and states the preprocessing; a description keeps that, for one more command.
What the command adds is a report, checks and a stored run, which a script of these lengths does not have. A
failure in a cell is one of the script as written, not of the library for ever: the vision transformer of
Hugging Face has no layer `conv`, and needs a layer and a `reshape_transform` of two or three lines more,
which were not written.

**What is not the same.** `class:1` of exclusive classes is its log-odds, logit minus the logsumexp of the
others; captum's `target=1` is the logit. The gradients of these two differ, of networks
with random weights a great deal: who compares maps must compare the same score.

**What is not covered.** torchvision and what is built on it ran here without its compiled operators, which
were made for another torch; no network of this table uses one. Models have no images of patients, and are
small: the seconds are those of starting, not of a large network.

## Mistakes

The words after a mistake: in torch, captum or another library that one would use, cut after 200 characters;
in Contrafact before models were taken in one line (its command line had no `--factory`, `--classes` and
`--preprocessing`: the same was asked by a description); and now. "a map": the command went on, with what it
warned of.

{faults}
"""

if __name__ == "__main__":
    main()
