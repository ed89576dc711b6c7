"""Every kind of file that the package reads: how a valid one is written, and how it is read to the end."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import contrafact as cf
from contrafact.bundles import load_bundle
from contrafact.bundles.fitting import fit_stages, read_config
from contrafact.core import (
    ContrafactError,
    Counterfactual,
    Grid,
    Heatmap,
    Image,
    InputError,
    Record,
    Trust,
    read_toml,
)
from contrafact.core.reading import naming
from contrafact.export.dicom.export import read_key
from contrafact.export.dicom.send import Archive, send
from contrafact.export.dicom.source import dicom_source
from contrafact.export.run_files import export_run
from contrafact.io import (
    Run,
    images_in,
    open_run,
    read_cohort,
    read_image,
    read_json,
    write_json,
)
from contrafact.render.case import case_page
from contrafact.render.run_index import RunIndex
from contrafact.report.page import write_report
from contrafact.study import read_study
from contrafact.study.preflight import survey
from contrafact.study.runner import prepared
from contrafact.study.torchesegeta import convert_torchesegeta
from contrafact.viewer.reader_study.app import Reading
from contrafact.viewer.reader_study.results import as_csv, table
from experiments.evaluate.fuzz_images import IMAGES, Write
from experiments.evaluate.fuzz_models import (
    described,
    described_by_torch,
    latent_bundle,
    onnx,
    predicted,
    program,
    script,
    translator_bundle,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file.

    write  writes a valid one into a folder and returns the name of what is read, "." for the folder
    read   reads it to the end, as the package does for a user
    share  of all fuzzed files, relative to the other kinds
    fixed  what is read stays as it is, and the files beside it change
    """

    write: Write
    read: Callable[[Path], Any]
    share: float = 1.0
    fixed: bool = False


def _record(method: str, image: Image) -> Record:
    about: Any = {"parameters": {"a": 1}, "target": "class:1", "model": "m", "versions": {"contrafact": "1"}}
    return Record(method=method, image=image.digest, **about)


def _results(number: int) -> tuple[Image, Heatmap, Counterfactual]:
    values = np.random.default_rng(number).uniform(0, 255, (1, 12, 12)).astype(np.float32)
    image, grid = Image(values, window=(0.0, 255.0), source=f"/data/{number}.png"), Grid((12, 12))
    heatmap = Heatmap(values=values[0] - 100, grid=grid, record=_record("gradient", image))
    strip = Counterfactual(
        frames=np.stack([values + 5 * k for k in range(3)]), requested=np.arange(3.0), scores=np.arange(3.0),
        latent_distance=np.arange(3.0), origin=0, reconstruction_error=0.1, above_tolerance=False,
        outcome="reached", goal=1.0, reconstruction=values, grid=grid, record=_record("latent-walk", image),
    )  # fmt: skip
    return image, heatmap, strip


SUMMARY: dict[str, Any] = {
    "better": {"auc": "higher"}, "words": {"auc": ""}, "by_construction": [], "keys": ["s"],
    "summary": [{"model": "", "method": "gradient", "metric": "auc", "mean": 0.5, "low": 0.4, "high": 0.6,
                 "median": 0.5, "patients": 4, "failed": 0, "noted": 0}],
    "ranks": [{"model": "", "method": "gradient", "metric": "auc", "rank": 1.5, "low": 1, "high": 2,
               "patients": 4}],
}  # fmt: skip


def _run(folder: Path) -> str:
    run = Run.create(folder / "run", about={"title": "a"})
    for number in range(2):
        image, heatmap, strip = _results(number)
        about: Any = {"case": f"Case {number}", "answers": ["yes 90 %"], "target_name": "yes"}
        run.add(f"{number}/gradient", image, heatmap, trust=[{"name": "small noise", "passed": True}], **about)
        run.add(f"{number}/walk", image, strip, followup=[(image, "no")], **about)
    run.add_methods({"gradient": {"source": "a", "cost": "b"}})
    run.add_failure("c", method="lime", target="class:1", source="/data/0.png", error="e", seconds=1.0)
    score = {"metric": "auc", "method": "gradient", "value": 0.5}
    run.add_scores("s", model="", image="0.png", patient="p", target="class:1", source="/data/0.png",
                   scores=[score])  # fmt: skip
    write_json(run.folder / "summary.json", SUMMARY)
    return "run"


def _look(path: Path) -> Any:
    """Read a run as report, viewer and export do."""
    run = open_run(path)
    index = RunIndex(run)
    pages = [case_page(index, case) for case in index.cases().values()]
    with contextlib.suppress(InputError):  # a run of which nothing can be read is refused by its own line
        write_report(run)
        list(export_run(run, "npz", path.parent / "out"))
    return pages, run.failures(), run.scores(), run.methods(), list(run.results())


def _saved(strip: bool) -> Write:
    def write(folder: Path) -> str:
        _results(0)[1 + strip].save(folder / "result.npz")
        return "result.npz"

    return write


def _answers(folder: Path) -> str:
    _run(folder)
    store = _reading(folder).answers()
    store.enter("Ada", _reading(folder).items(), seed=0, judgements=None)
    store.add("Ada", 0, "left", 1.0)
    return "reading.sqlite"


def _reading(folder: Path) -> Reading:
    return Reading(open_run(folder / "run"), tasks=("worse",), path=folder / "reading.sqlite")


def _judge(path: Path) -> Any:
    """Go on with a reader study: the next answer, and all answers as tables."""
    reading = _reading(path.parent)
    store = reading.answers()
    done, there = store.enter("Ada", reading.items(), seed=0, judgements=None)
    if done < there:
        store.trial("Ada", done)
        store.add("Ada", done, "right", None)
    return table(store.lines()), as_csv(store.lines())


STUDY = """title = "a"
images = ["*.npy"]
out = "run"
targets = ["class:1"]
seed = 1
limit_seconds = 60.0
[model]
path = "model.json"
[methods.gradient]
[methods.smooth]
inner = { name = "gradient" }
samples = 4
[metrics.sparseness]
"""
FIT = """name = "toy"
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
kimg = 0.008
batch = 8
[encoder]
steps = 1
batch = 2
width = 4
[direction]
samples = 64
anchors = 8
draws = 8
bootstrap = 2
"""


def _study(folder: Path) -> str:
    described(folder)
    np.save(folder / "a.npy", np.full((1, 16, 16), 100, np.uint8))
    (folder / "study.toml").write_text(STUDY)
    return "study.toml"


def _begin(path: Path) -> Any:
    """Read a study as far as its tasks, which need its images, masks and models, and as the editor does."""
    config = read_study(path)
    survey(read_toml(path), path.parent, path.parent)
    with naming(path.name):
        return prepared(config, path.parent, Trust())


def _fit(folder: Path) -> str:
    from PIL import Image as Picture

    described(folder)
    (folder / "images").mkdir()
    for number in range(8):
        array = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
        Picture.fromarray(array).save(folder / "images" / f"{number}.png")
    (folder / "fit.toml").write_text(FIT)
    list(fit_stages(folder / "fit.toml", device="cpu"))
    return "fit.toml"


def _cohort(folder: Path) -> str:
    rows = ["path,patient,label,split"]
    for number in range(4):
        np.save(folder / f"{number}.npy", np.zeros((4, 4)))
        rows.append(f'{number}.npy,p{number},"yes, or no",{"train" if number else "val"}')
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return "cohort.csv"


TREE = {
    "input_file": "a.nii", "is_3d": True, "timeout": 60, "target": 1,
    "methods": {"captum_Saliency": {"abs": True, "nt_type": "smoothgrad", "n_samples": 4}, "Rise": False},
}  # fmt: skip


def _json(name: str, value: Any) -> Write:
    def write(folder: Path) -> str:
        (folder / name).write_text(json.dumps(value))
        return name

    return write


def _folder_of_images(folder: Path) -> str:
    for label in ("a", "b"):
        (folder / label).mkdir()
        IMAGES["dicom"](folder / label)
        IMAGES["png"](folder / label)
    return "."


def _weights(folder: Path) -> str:
    save_file({"a": torch.zeros(3, 4), "b": torch.ones(2, dtype=torch.int64)}, folder / "w.safetensors")
    return "w.safetensors"


def _send(path: Path) -> None:
    """Read files as sending does; no archive listens at this port."""
    try:
        list(send(path, Archive("127.0.0.1", 9, "TEST")))
    except ContrafactError as error:
        if "did not accept" not in str(error):
            raise


def _source(path: Path) -> Any:
    """Read a series as the export does, whose results keep its patient and study."""
    affine = np.array([[0, 0, -0.7, 0], [0, -0.5, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]])
    about = {"format": "dicom", "SeriesInstanceUID": "1.2.3.4"}
    return dicom_source(str(path), Grid((3, 16, 20), affine=affine), about=about, digest="d", keep_patient=True)


def _series(path: Path) -> Any:
    return images_in(path), read_image(path), read_cohort(path).cases[0].read()


def _quietly(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def call(path: Path) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(path)

    return call


OTHERS: dict[str, Kind] = {
    "cohort, CSV": Kind(_cohort, read_cohort, 2),
    "cohort, folders": Kind(_folder_of_images, read_cohort),
    "study": Kind(_study, _begin, 2),
    "fit, configuration": Kind(lambda f: (f / "fit.toml").write_text(FIT) and "fit.toml", read_config, 2),
    "fit, continued": Kind(_fit, lambda p: list(fit_stages(p, device="cpu")), 0.3, fixed=True),
    "JSON": Kind(_json("a.json", {"a": [1, 2.5, None], "b": {"c": "d"}}), read_json),
    "description": Kind(described, predicted, 2),
    "description, weights of torch": Kind(described_by_torch, predicted, 2),
    "safetensors": Kind(_weights, lambda p: cf.io.read_tensors(p)),
    "TorchScript": Kind(script, predicted, 0.5),
    "torch.export": Kind(program, predicted, 0.5),
    "ONNX": Kind(onnx, predicted, 2),
    "bundle, latent space": Kind(latent_bundle, load_bundle),
    "bundle, translator": Kind(translator_bundle, load_bundle),
    "run folder": Kind(_run, _look, 1.5),
    "saved heatmap": Kind(_saved(False), cf.read_result),
    "saved counterfactual": Kind(_saved(True), cf.read_result),
    "reader study": Kind(_answers, _judge, 2),
    "TorchEsegeta": Kind(_json("c.json", TREE), convert_torchesegeta),
    "DICOM to send": Kind(IMAGES["dicom series"], _send, 0.5),
    "DICOM source of an export": Kind(IMAGES["dicom series"], _source),
    "key of UIDs": Kind(_json("key.json", {"uids": {"1.2": "1.3"}}), lambda p: read_key(p, p.parent / "out")),
}
KINDS: dict[str, Kind] = {
    **{name: Kind(write, _series if name == "dicom series" else read_image) for name, write in IMAGES.items()},
    **OTHERS,
}
KINDS = {name: replace(kind, read=_quietly(kind.read)) for name, kind in KINDS.items()}
