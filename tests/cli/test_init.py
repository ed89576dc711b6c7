"""`contrafact init` writes a description that the other commands read; `check` draws one map per method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import save_file
from torch import nn

import contrafact as cf
from conftest import small_network
from contrafact.cli import main
from contrafact.core import Heatmap, Image, InputError
from contrafact.models import Preprocessing, load_predictor
from contrafact.models.draft import drafted
from contrafact.models.opened import Opened
from contrafact.render.contact_sheet import SIDE, contact_sheet


class TwoHeads(nn.Module):
    """A class and an age, as a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.age = small_network(3), nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"finding": self.body(x), "age": self.age(x.mean(dim=(1, 2, 3))[:, None]) + 60}


def test_what_is_written_is_read_and_says_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(small_network().state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "nets.py").write_text("from conftest import small_network as make\n")
    words = [
        "init",
        str(tmp_path / "w.safetensors"),
        "--factory",
        f"{tmp_path / 'nets.py'}:make",
        "--trust-code",
    ]
    out = tmp_path / "sub" / "m.json"
    out.parent.mkdir()
    assert main([*words, "--out", str(out), "--preprocessing", '{"window": [0, 255]}']) == 0
    table = json.loads(out.read_text())
    assert table["factory"] == "../nets.py:make" and table["weights"] == "../w.safetensors"
    assert table["classes"] == ["0", "1"] and table["output"] == "logits"
    assert table["preprocessing"] == {"window": [0, 255]}
    assert (
        "of an image 1 x 64 x 64: output (2" in table["// outputs"]
        and "cells, the default" in table["// layers"]
    )
    predictor = load_predictor(out, trust_code=True)
    assert predictor.preprocessing == Preprocessing(window=(0, 255))
    assert main([*words, "--out", str(out)]) == 2
    assert "exists: give --out, or --replace" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        (small_network(3), "logits"),
        (small_network(1), "sigmoid"),
        (nn.Sequential(small_network(3), nn.Softmax(dim=1)), "probabilities"),
        (nn.Conv2d(1, 1, 3), "sigmoid"),
    ],
)
def test_the_kind_of_output_is_guessed_and_says_so(network: nn.Module, kind: str) -> None:
    table = drafted(Opened(network=network), {}, None)
    assert table["output"] == kind and f"{kind}: guessed" in table["// output"]
    assert "none is stated" in table["// preprocessing"]
    stated = drafted(Opened(network=network, declared={"output": kind}), {}, None)
    assert "guessed" not in stated["// output"]


def test_heads_are_listed_with_their_ranges() -> None:
    opened = Opened(network=TwoHeads(), notes=("a note",))
    table = drafted(opened, {"head": "age"}, None)
    assert "finding (3" in table["// outputs"] and "age (1" in table["// outputs"]
    assert table["head"] == "age" and table["classes"] == ["0"] and table["// note 1"] == "a note"
    with pytest.raises(InputError, match="outputs are finding, age; got head 'none'"):
        drafted(opened, {"head": "none"}, None)


def test_a_model_that_takes_no_noise_asks_for_an_image() -> None:
    def function(images: np.ndarray[Any, Any]) -> Any:
        if images.shape[2:] != (17, 18):
            raise ValueError("only 17 x 18")
        return images.mean(axis=(2, 3)) @ np.ones((1, 2), np.float32)

    with pytest.raises(InputError, match="only 17 x 18.*give --image FILE"):
        drafted(Opened(network=function), {}, None)
    assert len(drafted(Opened(network=function), {}, np.zeros((1, 17, 18), np.float32))["classes"]) == 2


def test_a_comment_of_a_description_is_no_key(tmp_path: Path) -> None:
    torch.save(small_network().state_dict(), tmp_path / "w.pt")
    about = {"// a": "b", "factory": "conftest:small_network", "weights": "w.pt"}
    (tmp_path / "m.json").write_text(json.dumps(about))
    assert load_predictor(tmp_path / "m.json", trust_code=True).output == "logits"


def heatmap(values: np.ndarray[Any, Any]) -> Heatmap:
    return Heatmap(values=values.astype(np.float32), grid=cf.Grid(values.shape), record=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("axes", [2, 3])
def test_a_sheet_has_a_tile_for_each_method(axes: int) -> None:
    shape = (6, 16, 16)[-axes:]
    values = np.zeros(shape, np.float32)
    values[(..., slice(0, 4), slice(0, 4))] = 1
    if axes == 3:
        values[[0, 1, 2, 4, 5]] = 0  # evidence in slice 3 alone
    image = Image(np.random.default_rng(0).uniform(0, 1, (1, *shape)).astype(np.float32))
    maps = {name: heatmap(values) for name in "abcdefg"}
    maps["empty"] = heatmap(np.zeros(shape))
    sheet = contact_sheet(image, maps, {"a": "exact"})
    assert sheet.shape[1] > 6 * SIDE and 2 * SIDE < sheet.shape[0] < 3 * SIDE
    coloured = np.abs(sheet.astype(int).max(axis=2) - sheet.astype(int).min(axis=2)) > 40
    tiles = [coloured[36 : 36 + SIDE, 8 + k * (SIDE + 8) : 8 + k * (SIDE + 8) + SIDE] for k in range(6)]
    assert not tiles[0].any()  # the image itself
    for tile in tiles[1:]:
        assert tile[: SIDE // 4, : SIDE // 4].mean() > 0.8 and tile[SIDE // 2 :].mean() < 0.01


@pytest.mark.slow
def test_check_draws_the_methods_that_work(tmp_path: Path) -> None:
    save_file(small_network().state_dict(), tmp_path / "w.safetensors")
    about = {
        "factory": "conftest:small_network",
        "weights": "w.safetensors",
        "preprocessing": {"window": [0, 255]},
    }
    (tmp_path / "m.json").write_text(json.dumps(about))
    Picture.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32)).astype(np.uint8)).save(
        tmp_path / "x.png"
    )
    words = ["check", str(tmp_path / "m.json"), "--image", str(tmp_path / "x.png"), "--trust-code"]
    assert main([*words, "--sheet", str(tmp_path / "new" / "sheet.png")]) == 0
    sheet = np.asarray(Picture.open(tmp_path / "new" / "sheet.png"))
    assert sheet.shape[0] > 4 * SIDE  # more than twenty methods
