"""An archive on this machine takes what `contrafact send` sends, and gives it back in its place."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("highdicom", reason="pip install 'contrafact[dicom]'")
pytest.importorskip("dicomweb_client", reason="pip install 'contrafact[pacs]'")
pytest.importorskip("pynetdicom", reason="pip install 'contrafact[pacs]'")


@pytest.fixture(scope="module")
def pacs() -> Any:
    """experiments/evaluate/pacs.py, which people run by hand."""
    module = importlib.import_module("experiments.evaluate.pacs")
    if not module.found_orthanc() or not any(Path(p).exists() for p in module.PLUGINS):
        pytest.skip("no Orthanc with DICOMweb on this machine (Debian: orthanc, orthanc-dicomweb)")
    return module


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets of the web client
def test_what_is_sent_comes_back_voxel_by_voxel(pacs: Any, tmp_path: Path) -> None:
    counts, _ = pacs.round_trip(tmp_path / "all")
    assert counts == {"CT": 60, "OT": 3, "SEG": 1, "SR": 1}


def test_a_frame_in_the_wrong_place_is_noticed(pacs: Any) -> None:
    import numpy as np

    from contrafact.core import Grid

    wanted = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    grid = Grid(wanted.shape)
    places = [np.array([0.0, 0, 0]), (np.diag([-1.0, -1, 1, 1]) @ grid.affine @ [1, 0, 0, 1])[:3]]
    pacs.same(places, list(wanted), wanted, grid)
    pacs.same(places[::-1], list(wanted[::-1]), wanted, grid)  # in any order
    for planes in (list(wanted[::-1]), [wanted[0], wanted[1, ::-1]], [wanted[0], wanted[1] + 0.1]):
        with pytest.raises(AssertionError):
            pacs.same(places, planes, wanted, grid)
    with pytest.raises(AssertionError, match="one frame for each"):
        pacs.same(places[:1] * 2, list(wanted), wanted, grid)
