"""Damage that a library reads without an error is refused by its checksum; what it prints goes to a logger."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("SimpleITK", reason="reads MetaImage and NRRD too")
pytest.importorskip("onnxruntime", reason="reads ONNX too")

import contrafact as cf
from contrafact.core import InputError
from contrafact.io import read_image
from contrafact.io.bounded import BoundedFile
from experiments.evaluate.fuzz_flips import flips
from experiments.evaluate.fuzz_images import IMAGES
from experiments.evaluate.fuzz_models import network, onnx, program


@pytest.mark.parametrize("kind", ["png with transparency", "MetaImage, deflate", "NRRD of two files"])
def test_damaged_values_with_a_checksum_are_never_read(kind: str) -> None:
    """The libraries read most of them, with other values, or the rows that were still whole."""
    found = flips(kind, most=40)
    assert found["other"] == 0
    assert found["refused"] > 35


def test_what_simpleitk_and_tifffile_print_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.mha").write_text("NDims = 2\nDimSize = 4 4\nElementDataFile = LOCAL\n")
    with pytest.raises(InputError, match=r"'a.mha' is not a readable image: ElementType required"):
        read_image(tmp_path / "a.mha")
    IMAGES["tiff"](tmp_path)
    raw = bytearray((tmp_path / "a.tif").read_bytes())
    raw[12:14] = b"\xff\xff"  # the type of the first tag
    (tmp_path / "a.tif").write_bytes(raw)
    with pytest.raises(InputError):
        read_image(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")
    assert {record.name for record in caplog.records} >= {"contrafact.libraries", "tifffile"}
    assert "ElementType required" in caplog.text


def test_a_refused_graph_and_program_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for write, name in ((onnx, "model.onnx"), (program, "model.pt2")):
        write(tmp_path)
        capfd.readouterr()
        raw = (tmp_path / name).read_bytes()
        for at in range(0, len(raw), len(raw) // 20):
            (tmp_path / name).write_bytes(raw[:at] + b"\xe9\xff\x00" + raw[at + 3 :])
            try:
                cf.load_predictor(tmp_path / name)
            except InputError as error:
                assert name in str(error)
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("opens", [BoundedFile, lambda path: path.open("rb")])
def test_no_memory_is_kept_for_bytes_beyond_the_end_of_a_file(tmp_path: Path, opens: Any) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    tracemalloc.start()
    try:
        with opens(tmp_path / "a") as file:
            assert [file.read(4), file.read(2**28), file.read(2**28), file.read()] == [
                b"0123",
                b"456789",
                b"",
                b"",
            ]
            file.seek(1)
            assert file.read() == b"123456789"
        bounded = tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert bounded == (opens is BoundedFile)  # Python keeps memory for all that is asked for


@pytest.mark.parametrize("batch", [1, 2])
def test_a_program_of_a_fixed_batch_says_how_to_export_it(tmp_path: Path, batch: int) -> None:
    made = torch.export.export(network(), (torch.rand(batch, 1, 16, 16),))
    torch.export.save(made, tmp_path / "fixed.pt2")
    predictor = cf.load_predictor(tmp_path / "fixed.pt2")
    assert predictor(np.zeros((batch, 1, 16, 16), np.float32)).shape == (batch, 2)
    with pytest.raises(InputError, match=rf"'fixed.pt2' was exported for batches of {batch}; got 3 .*DYNAMIC"):
        predictor(np.zeros((3, 1, 16, 16), np.float32))
    program(tmp_path)
    assert cf.load_predictor(tmp_path / "model.pt2")(np.zeros((3, 1, 16, 16), np.float32)).shape == (3, 2)
