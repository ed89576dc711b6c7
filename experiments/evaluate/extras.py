"""Each extra alone: installed into a new environment, and what needs it run with it and without it.

    python -m experiments.evaluate.extras BASE --wheel dist/contrafact-0.1.0-py3-none-any.whl

BASE: the `python` of an environment that has the wheel and nothing else. Each extra gets an environment of its
own over that one, which is removed afterwards. `--constraints constraints.txt` goes to pip. A row for each
extra: what pip added, the command, what became of it, seconds, and the line that is said without the extra.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from experiments.tables import table

ROOT = Path(__file__).parents[2]
MADE = """import json, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from experiments.evaluate import first_contact_files as files, first_contact_libraries as libraries
print("WORDS", json.dumps(({0})(Path.cwd()).words))
"""
# A run, a study, a fit, and files that need an extra to be read; they need none to be made.
FILES = """import json, shutil
import numpy as np, torch
from pathlib import Path
from PIL import Image
from pydicom.data import get_testdata_file
from contrafact.phantoms import draw_factors, knee_phantom

rng = np.random.default_rng(0)
Path("images/a").mkdir(parents=True), Path("images/b").mkdir()
for number in range(128):
    values = knee_phantom(draw_factors(rng), rng).image.values[0].astype(np.uint8)
    Image.fromarray(values).save(f"images/{'ab'[number % 2]}/{number}.png")
Image.fromarray(values).save("knee.png")
head = "NDims = 2\\nDimSize = 32 32\\nElementType = MET_UCHAR\\nElementDataFile = LOCAL\\n"
Path("knee.mha").write_bytes(("ObjectType = Image\\n" + head).encode() + values.tobytes())
program = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 2)).eval()
many = ({0: torch.export.Dim("n")},)
exported = torch.export.export(program, (torch.rand(2, 1, 32, 32),), dynamic_shapes=many)
torch.export.save(exported, "net.pt2")
Path("model.json").write_text(json.dumps({"model": "net.pt2", "preprocessing": {"window": [0, 255]}}))
Path("study.toml").write_text('''
images = ["few/a/*.png"]
targets = ["class:1"]
out = "runs/study"
[model]
bundle = "phantom"
[methods.gradient]
[metrics.complexity]
''')
Path("few/a").mkdir(parents=True), Path("archived").mkdir()
shutil.copy(get_testdata_file("MR_small.dcm"), "archived/a.dcm")
for name in sorted(Path("images/a").iterdir())[:4]:
    (Path("few/a") / name.name).write_bytes(name.read_bytes())
Path("fit.toml").write_text('''
name = "mine"
out = "runs/mine"
[data]
path = "images"
window = [0, 255]
[models.classifier]
path = "model.json"
targets = ["class:1"]
[generator]
family = "FAMILY"
resolution = 32
channels = 1
[training]
kimg = 0.2
''')
for family in ("translator", "stylegan2"):
    Path(family + ".toml").write_text(Path("fit.toml").read_text().replace("FAMILY", family))
"""
EXPLAINED = "explain {} --bundle phantom --methods gradient --no-checks"
TORCHIO = """import contrafact as cf
from contrafact.interop import from_torchio, to_torchio
image = to_torchio(cf.read_image('knee.png'))
print(type(image).__module__, image.shape, from_torchio(image).values.shape)"""
WIDGET = """import contrafact as cf
from contrafact.report.widget import StripWidget
bundle = cf.load_bundle('phantom')
strip = cf.explain('counterfactual', bundle.predictor, 'knee.png', target='class:1', bundle=bundle)
print(type(StripWidget(strip)).__name__)"""


@dataclass(frozen=True)
class Trial:
    """What needs an extra.

    words   of `contrafact`; with `maker`, those of the files that it makes with the extra
    code    a program in its place
    ends    seconds after which a server is ended, which then counts as having run
    expect  words of an answer that is no success: of an archive that is not there, for example
    makes   a file that is there with the extra, and without it is not
    """

    words: str = ""
    code: str = ""
    maker: str = ""
    before: str = ""
    ends: float = 0
    expect: str = ""
    makes: str = ""


TRIALS = {
    "dicom": Trial("export runs/explain --to dicom", before=EXPLAINED.format("knee.png")),
    "files": Trial(EXPLAINED.format("knee.mha")),
    "pacs": Trial("send archived --to 127.0.0.1:9:ARCHIVE", expect="127.0.0.1:9"),
    "train": Trial("fit stylegan2.toml --stage generator --devices 2 --device cpu"),
    "translator": Trial("fit translator.toml --plan"),
    "table": Trial("study study.toml", makes="runs/study/scores.parquet"),
    "onnx": Trial(maker="files.onnx(last=False)"),
    "nnunet": Trial(maker="libraries.nnunet"),
    "huggingface": Trial(maker="libraries.huggingface"),
    "torchvision": Trial(maker="libraries.torchvision_name"),
    "timm": Trial(maker="libraries.timm_name"),
    "smp": Trial(maker="libraries.segmentation_models"),
    "skops": Trial(maker="files.estimator"),
    "torchio": Trial(code=TORCHIO),
    "mlflow": Trial("study study.toml --log-to mlflow"),
    "wandb": Trial("study study.toml --log-to wandb"),
    "view": Trial("view runs/explain", before=EXPLAINED.format("knee.png"), ends=30),
    "notebook": Trial(code=WIDGET),
    "ray": Trial("study study.toml --engine ray"),
}


def call(python: Path, words: list[str], folder: Path, *, ends: float = 0) -> tuple[int, str, float]:
    """The exit status of a program (0 for a server that still ran), its last line, and its seconds."""
    env = {**os.environ, "WANDB_MODE": "offline", "MLFLOW_TRACKING_URI": str(folder / "mlruns")}
    env |= {"MLFLOW_ALLOW_FILE_STORE": "true", "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    began = time.perf_counter()
    command = ["timeout", "-s", "INT", str(ends or 500), str(python), *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    status = 0 if ends and done.returncode in (124, 130) else done.returncode
    said = (done.stdout if status == 0 else done.stderr).strip().splitlines() or [""]
    return status, said[-1], time.perf_counter() - began


def contrafact(
    python: Path, words: str | list[str], folder: Path, *, ends: float = 0
) -> tuple[int, str, float]:
    words = shlex.split(words) if isinstance(words, str) else words
    return call(python, ["-m", "contrafact", *words], folder, ends=ends)


def over(base: Path, place: Path) -> Path:
    """A new environment that sees the packages of another one; its `python`."""
    subprocess.run([str(base), "-m", "venv", "--without-pip", str(place)], check=True)
    find = "import sysconfig; print(sysconfig.get_path('purelib'))"
    lower = subprocess.run([str(base), "-c", find], capture_output=True, text=True, check=True).stdout.strip()
    python = place / "bin" / "python"
    upper = subprocess.run([str(python), "-c", find], capture_output=True, text=True, check=True).stdout.strip()
    Path(upper, "lower.pth").write_text(lower + "\n")
    return python


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def installed(base: Path, python: Path, wheel: Path, extra: str, constraints: Path | None) -> list[str]:
    """Install an extra; what pip added, with megabytes and seconds."""
    place = python.parents[1]
    before = size(place)
    words = ["-c", str(constraints)] if constraints else []
    report = place / "report.json"
    words += ["--report", str(report), f"{wheel}[{extra}]"]
    began = time.perf_counter()
    pip = [str(base), "-m", "pip", "--python", str(python), "install", "-q"]
    done = subprocess.run([*pip, *words], capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        return [f"not to be had: {done.stderr.strip().splitlines()[-1]}", "", f"{seconds:.0f}"]
    found = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    new = {canonicalize_name(one["name"]): one["version"] for one in found if one["name"] != "contrafact"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [canonicalize_name(Requirement(r).name) for r in project["optional-dependencies"][extra]]
    named = [f"{name} {new[name]}" for name in dict.fromkeys([*asked, "torch", "torchvision"]) if name in new]
    rest = len(new) - len(named)
    text = ", ".join(named) + (f" and {rest} more" if rest else "")
    return [text or "nothing", f"{(size(place) - before) / 1e6:.0f}", f"{seconds:.0f}"]


def tried(extra: str, trial: Trial, base: Path, python: Path, folder: Path) -> list[str]:
    """The command, what became of it with the extra and its seconds, and the line without it."""
    code = trial.code
    words: list[str] = shlex.split(trial.words)
    if trial.maker:
        made = call(python, ["-c", MADE.format(trial.maker)], folder)
        if not made[1].startswith("WORDS"):
            return ["its files", f"not made: {made[1]}", "", ""]
        words = ["explain", *json.loads(made[1].removeprefix("WORDS "))]
    if trial.before:
        contrafact(base, shlex.split(trial.before), folder)

    def once(which: Path) -> tuple[int, str, float]:
        if code:
            return call(which, ["-c", code], folder)
        return contrafact(which, words, folder, ends=trial.ends)

    without = once(base)
    lacks = trial.makes and not (folder / trial.makes).exists()
    shutil.rmtree(folder / "runs" / "study", ignore_errors=True)
    status, said, seconds = once(python)
    right = status == 0 or bool(trial.expect and trial.expect in said)
    right = right and (not trial.makes or (folder / trial.makes).exists())
    outcome = ("yes" if status == 0 else f"yes: {said}") if right else f"no: {said}"
    typed = "in Python: " + code.splitlines()[1] if code else "contrafact " + shlex.join(words)
    named = f"contrafact[{extra}]" in without[1]
    line = without[1] if named else f"(status {without[0]}) {without[1]}"
    line = f"runs, without {Path(trial.makes).name}" if lacks else line
    return [f"`{typed}`", outcome, f"{seconds:.0f}", line]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--constraints", type=Path)
    parser.add_argument("--only", default=",".join(TRIALS), help="extras, with commas between")
    options = parser.parse_args()
    base, wheel = options.base.absolute(), options.wheel.resolve()
    constraints = options.constraints.resolve() if options.constraints else None
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "files"
        folder.mkdir()
        status, said, _ = call(base, ["-c", FILES], folder)
        assert status == 0, said
        for extra in options.only.split(","):
            one = Path(place) / f"files-{extra}"
            shutil.copytree(folder, one)
            python = over(base, Path(place) / f"env-{extra}")
            row = installed(base, python, wheel, extra, constraints)
            rest = ["", "", "", ""] if row[1] == "" else tried(extra, TRIALS[extra], base, python, one)
            rows.append([f"`{extra}`", *row, *rest])
            print(" | ".join(rows[-1]), flush=True)
            shutil.rmtree(python.parents[1])
    head = ["extra", "adds", "MB", "s to install", "what needs it", "with it", "s", "without it"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
