"""Boxes of a detector as targets: in Python, on the command line and in a study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import contrafact as cf
from contrafact.cli import main
from contrafact.core import InputError
from contrafact.io import open_run
from contrafact.models import load_predictor

NETWORK = '''
import torch
from torch import nn

class Detector(nn.Module):
    """Two fixed boxes: the score of label 1 is the mean of the left place, that of label 2 of the right."""
    def __init__(self):
        super().__init__()
        self.register_buffer("boxes", torch.tensor([[2.0, 4, 6, 8], [10, 4, 14, 8]]))

    def forward(self, images):
        tables = []
        for image in images:
            scores = torch.stack([image[0, 4:8, 2:6].mean(), image[0, 4:8, 10:14].mean()])
            kept = scores > 0.05
            labels = torch.tensor([1, 2])[kept]
            tables.append({"boxes": self.boxes[kept], "labels": labels, "scores": scores[kept]})
        return tables
'''
LEFT, RIGHT = slice(2, 6), slice(10, 14)


def picture(left: float, right: float) -> np.ndarray[Any, Any]:
    image = np.full((1, 16, 16), 0.2, np.float32)
    image[0, 4:8, LEFT], image[0, 4:8, RIGHT] = left, right
    return image


def inside(columns: slice) -> np.ndarray[Any, Any]:
    mask = np.zeros((16, 16), bool)
    mask[4:8, columns] = True
    return mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "boxes_of_a_test.py").write_text(NETWORK)
    save_file({"boxes": torch.tensor([[2.0, 4, 6, 8], [10, 4, 14, 8]])}, tmp_path / "w.safetensors")
    np.save(tmp_path / "left.npy", picture(0.9, 0.6))
    np.save(tmp_path / "right.npy", picture(0.5, 0.8))
    return tmp_path


def model(folder: Path, **more: Any) -> Any:
    factory = f"{folder / 'boxes_of_a_test.py'}:Detector"
    return load_predictor(folder / "w.safetensors", factory=factory, trust_code=True, **more)


def test_the_first_box_is_that_of_each_image(folder: Path) -> None:
    detector = model(folder, output="detection")
    for name, columns, score in (("left.npy", LEFT, 0.9), ("right.npy", RIGHT, 0.8)):
        heat = cf.explain("gradient", detector, folder / name, target="box:1")
        assert (heat.values[inside(columns)] > 0).all() and not heat.values[~inside(columns)].any()
        assert str(heat.record.target) == "box:1"
        default = cf.explain("gradient", detector, folder / name)
        np.testing.assert_array_equal(default.values, heat.values)
        found = detector.target("box:1").freeze(detector, np.load(folder / name)[None])
        assert float(found(detector(np.load(folder / name)[None]))) == pytest.approx(score)


def test_a_box_by_label_and_corners(folder: Path) -> None:
    detector = model(folder, output="detection")
    heat = cf.explain(
        "occlusion", detector, picture(0.9, 0.6), target="box:2@10,4,14,8", box=2, stride=2, fill=0
    )
    assert (heat.values[inside(RIGHT)] > 0).all() and not heat.values[~inside(RIGHT)].any()
    half = detector.target("box:1@4,4,8,8")  # half beside it: 8 of 24
    assert float(half(detector(picture(0.9, 0.6)[None]))) == pytest.approx(0.9 / 3)
    assert str(half) == "box:1@4,4,8,8" and half.target is half
    assert float(half(detector(np.zeros((1, 1, 16, 16), np.float32)))) == 0


def test_mistakes_are_answered(folder: Path) -> None:
    with pytest.raises(InputError, match=r"finds boxes, and logits is declared: write output='detection'"):
        model(folder)(picture(0.9, 0.6)[None])
    with pytest.raises(InputError, match="must answer with a list of tables"):
        load_predictor(nn.Flatten(), output="detection")(picture(0.9, 0.6)[None])
    detector = model(folder, output="detection")
    with pytest.raises(InputError, match=r"finds 2 box\(es\) in this image; got box:3"):
        cf.explain("gradient", detector, picture(0.9, 0.6), target="box:3")
    for text in ("box:0", "box:", "box:a", "box:1@1,2,3", "box:1@a,b,c,d", "box:1@4,4,2,8"):
        with pytest.raises(InputError, match="expected box:NUMBER, from 1, or box:LABEL@x0,y0,x1,y1"):
            detector.target(text)
    with pytest.raises(InputError, match="targets of a detector"):
        detector.target("class:1")
    with pytest.raises(InputError, match="targets of a detector"):
        load_predictor(nn.Flatten()).target("box:1")


def test_the_command_line_and_a_study_take_boxes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "explain",
        str(folder / "left.npy"),
        str(folder / "right.npy"),
        "--trust-code",
        "--methods",
        "gradient",
    ]
    words += [
        "--model",
        str(folder / "w.safetensors"),
        "--factory",
        f"{folder / 'boxes_of_a_test.py'}:Detector",
    ]
    words += ["--output", "detection", "--target", "box:1", "--out", str(folder / "run"), "--no-checks"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "box 1 (1) 90 %" in said and "box 1 (2) 80 %" in said
    (folder / "m.json").write_text(
        '{"factory": "boxes_of_a_test.py:Detector", "weights": "w.safetensors", "output": "detection"}'
    )
    (folder / "study.toml").write_text(
        'images = ["left.npy", "right.npy"]\nout = "study"\n'
        'targets = ["box:1", "box:2@10,4,14,8"]\n[model]\npath = "m.json"\n[methods.gradient]\n'
    )
    assert main(["study", str(folder / "study.toml"), "--trust-code"]) == 0
    run = open_run(folder / "study")
    for row in run.rows():
        values = run.arrays(row)["values"]
        right = "right" in row["source"] or row["target_name"] != "box:1"
        assert (values[inside(RIGHT if right else LEFT)] > 0).all(), row["target_name"]
    assert len(run.rows()) == 4


@pytest.mark.parametrize(("name", "told"), [("left.npy", "2 box(es), the first: label 1"), (None, "2 box(es)")])
def test_a_description_of_a_detector_is_drafted_and_used(folder: Path, name: str | None, told: str) -> None:
    words = [str(folder / "w.safetensors"), "--factory", f"{folder / 'boxes_of_a_test.py'}:Detector"]
    shown = ["--image", str(folder / name)] if name else []
    out = folder / "m.json"
    assert main(["init", *words, "--trust-code", "--out", str(out), *shown]) == 0
    table = json.loads(out.read_text())
    assert told in table["// outputs"] and table["output"] == "detection" and table["classes"] == []
    assert "names of the labels" in table["// classes"] and "guessed" in table["// output"]
    heat = cf.explain("gradient", load_predictor(out, trust_code=True), folder / "left.npy")
    assert str(heat.record.target) == "box:1"


@pytest.mark.parametrize("form", ["numpy()", "tolist()"])
def test_boxes_that_are_no_tensors_are_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    file = folder / "boxes_of_a_test.py"
    kept = "{k: v.FORM for k, v in table.items()}".replace("FORM", form)
    file.write_text(NETWORK.replace("return tables", f"return [{kept} for table in tables]"))
    words = [str(folder / "w.safetensors"), "--factory", f"{file}:Detector", "--trust-code"]
    assert main(["init", *words, "--out", str(folder / "m.json"), "--image", str(folder / "left.npy")]) != 0
    assert "no image could be passed through the model" in capsys.readouterr().err
