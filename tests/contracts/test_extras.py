"""Without the packages of an extra, what needs them names the extra in one line, and all else works."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from pydicom.pixels.decoders.base import Decoder
from pydicom.uid import JPEGLSLossless

import contrafact as cf
from conftest import noise_image
from contrafact.bundles.fitting import _team
from contrafact.core import ContrafactError
from contrafact.export.dicom.send import read_archive, send
from contrafact.export.run_files import export_run
from contrafact.generators.projected_discriminator import _photograph_network
from contrafact.interop import MLflowTracker, WandbTracker, to_torchio
from contrafact.io import Run
from contrafact.io.remote import fetched, path_of
from contrafact.jobs.on_ray import _ray
from contrafact.models.formats.nnunet import _network
from contrafact.study.scoring import _write_parquet
from contrafact.viewer import pages

ROOT = Path(__file__).parents[2]


def file_of(folder: Path, name: str, content: bytes = b"") -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def exported(folder: Path) -> None:
    list(export_run(Run.create(folder / "run", about={}), "dicom", folder / "out"))


def sent(folder: Path, to: str) -> None:
    file_of(folder, "a.dcm")
    list(send(folder, read_archive(to)))


def compressed_tiff(folder: Path) -> None:
    import tifffile

    path = folder / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint16))
    content = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags["Compression"].valueoffset
    path.write_bytes(content[:tag] + (50000).to_bytes(2, "little") + content[tag + 2 :])  # Zstandard
    cf.read_image(path)


def jpeg_ls(folder: Path) -> None:
    import pydicom
    from pydicom.data import get_testdata_file

    data = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8"])
    data["PixelData"].is_undefined_length = True
    data.save_as(folder / "a.dcm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Decoder, "is_available", False)
        cf.read_image(folder / "a.dcm")


def hugging_face(folder: Path) -> None:
    file_of(folder, "config.json", json.dumps({"model_type": "vit"}).encode())
    file_of(folder, "model.safetensors")
    cf.load_predictor(folder)


# extra: (the packages that are hidden, what needs it)
CALLS: dict[str, list[tuple[tuple[str, ...], Callable[[Path], Any]]]] = {
    "dicom": [(("highdicom",), exported), ((), jpeg_ls)],
    "files": [
        (("SimpleITK",), lambda folder: cf.read_image(file_of(folder, "a.mha", b"ObjectType = Image"))),
        (("imagecodecs",), compressed_tiff),
    ],
    "pacs": [
        (("pynetdicom",), lambda folder: sent(folder, "127.0.0.1:4242:ARCHIVE")),
        (("dicomweb_client", "dicomweb_client.api"), lambda folder: sent(folder, "http://127.0.0.1:1")),
    ],
    "train": [(("lightning_fabric",), lambda _: _team(2, "cpu"))],
    "translator": [(("efficientnet_lite_pytorch",), lambda _: _photograph_network())],
    "onnx": [(("onnxruntime",), lambda folder: cf.load_predictor(file_of(folder, "a.onnx")))],
    "nnunet": [(("dynamic_network_architectures",), lambda _: _network({}, 1, 2))],
    "huggingface": [(("transformers",), hugging_face)],
    "torchvision": [
        (("torchvision",), lambda f: cf.load_predictor(f"torchvision:resnet18@{file_of(f, 'a.pth')}"))
    ],
    "timm": [(("timm",), lambda f: cf.load_predictor(f"timm:resnet18@{file_of(f, 'a.safetensors')}"))],
    "smp": [
        (
            ("segmentation_models_pytorch",),
            lambda f: cf.load_predictor(f"smp:Unet/resnet18@{file_of(f, 'a.safetensors')}"),
        )
    ],
    "skops": [(("skops", "skops.io"), lambda folder: cf.load_predictor(file_of(folder, "a.skops")))],
    "view": [(("starlette", "starlette.exceptions", "uvicorn"), lambda _: pages.parts())],
    "notebook": [(("anywidget",), lambda _: importlib.import_module("contrafact.report.widget"))],
    "remote": [((name,), lambda _: fetched(path_of("s3://bucket/a.png"))) for name in ("fsspec", "s3fs")],
    "ray": [(("ray",), lambda _: _ray())],
    "torchio": [(("torchio",), lambda _: to_torchio(noise_image(2, 1)))],
    "mlflow": [(("mlflow",), lambda _: MLflowTracker())],
    "wandb": [(("wandb",), lambda _: WandbTracker())],
}
SILENT = {"table"}  # scores.csv is written, scores.parquet is not: tested below
FOR_AUTHORS = {"all", "dev", "docs"}


def extras() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, list[str]] = project["optional-dependencies"]
    return found


def test_every_extra_is_tried() -> None:
    assert {*CALLS, *SILENT, *FOR_AUTHORS} == set(extras())


def test_the_page_of_extras_lists_what_each_brings() -> None:
    page = (ROOT / "docs" / "reference" / "extras.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([^|]+) \|", page, re.MULTILINE))
    for extra, needed in extras().items():
        if extra in ("dev", "docs"):
            continue
        names = [re.split(r"[<>=\[]", one.partition("contrafact[")[2].rstrip("]") or one)[0] for one in needed]
        assert rows[extra] == ", ".join(names).replace(",", ", ").replace(",  ", ", "), extra
    assert set(rows) == set(extras()) - {"dev", "docs"}


@pytest.mark.parametrize(
    ("extra", "hidden", "call"),
    [(extra, *case) for extra, cases in CALLS.items() for case in cases],
    ids=[f"{extra}-{number}" for extra, cases in CALLS.items() for number, _ in enumerate(cases)],
)
def test_what_needs_an_extra_names_it_in_one_line(
    extra: str, hidden: tuple[str, ...], call: Callable[[Path], Any], tmp_path: Path, monkeypatch: Any
) -> None:
    parts = ("contrafact.viewer", "contrafact.report.widget")
    for name in [name for name in sys.modules if name.startswith(parts)]:
        monkeypatch.delitem(sys.modules, name)
    for name in hidden:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ContrafactError, match=re.escape(f"pip install 'contrafact[{extra}]'")) as caught:
        call(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("extra", ["torchvision", "timm", "smp"])
def test_a_library_that_does_not_fit_its_torch_is_one_line(
    extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [(names, call)] = CALLS[extra]
    for name in [name for name in sys.modules if name.split(".")[0] in names]:
        monkeypatch.delitem(sys.modules, name)
    package = tmp_path / "site" / names[0]
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ContrafactError, match="nms does not exist.*torchvision made for your torch"):
        call(tmp_path)


@pytest.mark.parametrize(("library", "name"), [("onnxruntime", "a.onnx"), ("skops.io", "a.skops")])
def test_a_file_that_does_not_exist_is_named_before_the_library(
    library: str, name: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ContrafactError, match=f"{name}', which does not exist"):
        cf.load_predictor(tmp_path / name)


def test_without_duckdb_a_study_has_its_scores_as_csv_alone(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    (tmp_path / "scores.csv").write_text("a\n1\n")
    _write_parquet(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_without_any_extra_the_package_imports_and_explains(tmp_path: Path) -> None:
    hidden = {name for cases in CALLS.values() for names, _ in cases for name in names} | {"duckdb"}
    values = np.random.default_rng(0).integers(0, 255, (16, 16), dtype=np.uint8)
    Picture.fromarray(values).save(tmp_path / "a.png")
    code = f"""
import sys
sys.modules.update(dict.fromkeys({sorted(hidden)!r}))
import torch, contrafact as cf
for name in cf.__all__:
    getattr(cf, name)
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 2))
model = cf.load_predictor(network, preprocessing=cf.Preprocessing(window=(0, 255)))
print(cf.explain("gradient", model, {str(tmp_path / "a.png")!r}, target=1).values.shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "(16, 16)", done.stderr
