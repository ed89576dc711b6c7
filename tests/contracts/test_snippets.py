"""Every line of the pages for users runs as it stands, page by page in a temporary folder.

A block of Python or of the shell with `<!-- not run: REASON -->` before it is not run: its Python is compiled,
and its commands of `contrafact` are read by the command line.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import nibabel
import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import save_file
from torch import nn

import contrafact as cf
from conftest import small_network
from contrafact.bundles.fitting import read_config
from contrafact.cli import app, main
from contrafact.models.factories import build
from contrafact.phantoms import draw_factors, knee_phantom
from contrafact.study import read_study
from experiments.evaluate import kills

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SERVING = ("view", "reader-study")
BLOCK = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]+) -->\n+[ ]*)?```(?P<kind>\w*)\n(?P<text>.*?)```", re.DOTALL
)
PAGES = [
    ROOT / "README.md",
    ROOT / "PYPI.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((DOCS / "how-to").glob("*.md")),
]
PAGES += sorted((DOCS / "explanation").glob("*.md"))
RUN = ("python", "sh")


@dataclass(frozen=True)
class Block:
    """One fenced block; `reason`: why it is not run."""

    kind: str
    text: str
    line: int
    reason: str | None


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(m["kind"], m["text"], text.count("\n", 0, m.start("text")) + 1, m["reason"])
        for m in BLOCK.finditer(text)
    ]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each `contrafact` command of a shell block, without comments and what surrounds it."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["contrafact"]:
            yield words[1:]


def run(page: Path, given: Mapping[str, Any] | None = None) -> list[str]:
    """Run the blocks of a page in order, with the names that it takes as given; return what was run."""
    names: dict[str, Any] = {"__name__": page.stem, **(given or {})}
    done = []
    for block in blocks_of(page):
        if block.kind not in RUN:
            continue
        place = f"{page.name}, line {block.line}"
        if block.kind == "python":
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            if block.reason is None:
                exec(code, names)
                done.append(place)
            continue
        for words in commands(block.text):
            if block.reason is None:
                assert words[0] not in SERVING, f"{place}: a server does not end; say '<!-- not run: … -->'"
                assert main(words) == 0, f"{place}: contrafact {shlex.join(words)}"
                done.append(place)
            else:
                app.parse_args(words, exit_on_error=False, print_error=False)
    return done


def no_inputs(_folder: Path) -> None:
    """The page makes its own."""


def for_fit(folder: Path) -> None:
    """128 images of 16 pixels, a small model, and a fit of a thousand images in place of that of the page."""
    kills._fit_inputs(kills.FIT.replace('out = "out"', 'out = "runs/mine"'), 128)(folder)
    image = np.random.default_rng(999).integers(0, 256, (16, 16), dtype=np.uint8)
    Picture.fromarray(image).save(folder / "test.png")


def for_vessels(folder: Path) -> None:
    """An angiograph of 16 x 112 x 112 voxels, and the network that the page describes, untrained."""
    (folder / "images").mkdir()
    values = np.random.default_rng(0).uniform(0, 280, (112, 112, 16)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / "images" / "a.nii.gz")
    page = DOCS / "how-to" / "tof-mra.md"
    description = next(b.text for b in blocks_of(page) if b.kind == "json")
    (folder / "unet.json").write_text(description)
    about = json.loads(description)
    torch.manual_seed(0)
    save_file(build(about["factory"], about["arguments"]).state_dict(), folder / about["weights"])


class Detector(nn.Module):
    """One fixed box, whose score is the mean of its place."""

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        return [
            {
                "boxes": torch.tensor([[2.0, 4, 6, 8]]),
                "labels": torch.tensor([1]),
                "scores": image[0, 4:8, 2:6].mean()[None],
            }
            for image in images
        ]


def for_models(folder: Path) -> dict[str, Any]:
    """A checkpoint of a trainer; a detector, and an image."""
    torch.save({"state_dict": nn.Linear(2, 2).state_dict()}, folder / "last.ckpt")
    values = np.random.default_rng(0).uniform(0.2, 0.9, (1, 16, 16)).astype(np.float32)
    return {"cf": cf, "detector": Detector(), "image": cf.Image(values, window=(0.0, 1.0))}


def for_other_libraries(folder: Path) -> dict[str, Any]:
    """A small network with a batch of images; a volume in a file; a cohort."""
    Picture.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "a.png")
    (folder / "cohort.csv").write_text("path,patient,label\na.png,1,wide\n")
    torch.manual_seed(0)
    values = np.random.default_rng(0).uniform(0, 1, (8, 8, 8)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1, 2, 1])), folder / "ct.nii.gz")
    return {"model": small_network(), "x": torch.rand(2, 1, 16, 16)}


def for_cover(folder: Path) -> dict[str, Any]:
    """A drawn image, a small network with a batch, and the network in a file."""
    image(folder)
    torch.manual_seed(0)
    network, batch = small_network(), torch.rand(2, 1, 32, 32)
    axes = {"x": {0: "N", 2: "H", 3: "W"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            network, batch, folder / "net.onnx", input_names=["x"], dynamic_axes=axes, dynamo=False
        )
    return {"network": network, "batch": 255 * batch}


def for_readme(folder: Path) -> dict[str, Any]:
    """As `for_cover`, with a network that ends in a softmax."""
    given = for_cover(folder)
    return {**given, "network": nn.Sequential(given["network"], nn.Softmax(dim=1))}


def for_viewer(folder: Path) -> dict[str, Any]:
    """A bundle, an image, and a cohort of others."""
    rng = np.random.default_rng(0)
    lines = ["path,patient,label"]
    for number in range(12):
        Picture.fromarray(drawn(rng)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{number},1")
    (folder / "cases.csv").write_text("\n".join(lines))
    image(folder)
    return {"cf": cf, "bundle": cf.load_bundle("phantom"), "image": cf.read_image(folder / "knee.png")}


def for_notebook(folder: Path) -> None:
    """A drawn image."""
    image(folder)


def drawn(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """A phantom of 32 x 32 pixels, in grey levels."""
    return knee_phantom(draw_factors(rng), rng).image.values[0].astype(np.uint8)


def image(folder: Path) -> None:
    """Write a phantom of 128 pixels a side, which the bundle `knee` takes."""
    Picture.fromarray(drawn(np.random.default_rng(1))).resize((128, 128)).save(folder / "knee.png")


INPUTS: dict[str, Callable[[Path], dict[str, Any] | None]] = {
    "README": for_readme,
    "PYPI": for_cover,
    "viewer": for_viewer,
    "notebook": for_notebook,
    "fit": for_fit,
    "tof-mra": for_vessels,
    "your-model": for_models,
    "other-libraries": for_other_libraries,
}


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # as it is for a user
@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in PAGES])
def test_every_block_of_a_page_runs_as_it_stands(page: Path, tmp_path: Path) -> None:
    matplotlib.use("Agg")
    given = INPUTS.get(page.stem, no_inputs)(tmp_path)
    with inside(tmp_path):
        done = run(page, given)
    runnable = [block for block in blocks_of(page) if block.kind in RUN and block.reason is None]
    assert len(set(done)) >= len([b for b in runnable if b.kind == "python" or list(commands(b.text))])


def test_a_block_that_fails_fails_its_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nvalue = 1\n```\n\n```python\nassert value == 2\n```\n")
    with pytest.raises(AssertionError):
        run(page)
    page.write_text("<!-- not run: the network -->\n```sh\ncontrafact explain --no-such-option x\n```\n")
    with pytest.raises(Exception, match="no-such-option"):
        run(page)
    page.write_text("```sh\ncontrafact list nothing\n```\n")
    with pytest.raises(AssertionError, match="line 2: contrafact list nothing"):
        run(page)


def test_the_configuration_of_the_page_on_fits_is_one(tmp_path: Path) -> None:
    block = next(block for block in blocks_of(DOCS / "how-to" / "fit.md") if block.kind == "toml")
    (tmp_path / "fit.toml").write_text(block.text)
    config, out = read_config(tmp_path / "fit.toml")
    assert (config.name, out) == ("mine", (tmp_path / "runs" / "mine").resolve())


def test_the_studies_of_the_page_on_studies_are_read(tmp_path: Path) -> None:
    texts = [block.text for block in blocks_of(DOCS / "study.md") if block.kind == "toml"]
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        assert read_study(path).methods
    assert len(texts) == 2


def test_the_page_of_the_package_index_has_no_picture_and_no_relative_link() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        page = ROOT / tomllib.load(file)["project"]["readme"]
    text = page.read_text(encoding="utf-8")
    places = re.findall(r"\]\(([^)]*)\)|(?:src|href)=\"([^\"]*)\"|^\[[^]]+\]: *(\S+)", text, re.MULTILINE)
    assert not [place for place in places if not "".join(place).startswith("https://")]
    assert "![" not in text


@pytest.mark.parametrize("page", [pytest.param(page, id=page.stem) for page in PAGES])
def test_every_block_with_commands_is_one_of_the_shell(page: Path) -> None:
    assert not [
        f"line {block.line}"
        for block in blocks_of(page)
        if block.kind not in RUN and re.search(r"^contrafact ", block.text, re.MULTILINE)
    ]
