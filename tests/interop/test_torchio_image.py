"""Images and results as TorchIO's: their geometry is that of the file, read by TorchIO itself."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

import contrafact as cf
from conftest import noise_image, planted_predictor
from contrafact.core import InputError, UnsupportedError
from contrafact.interop import from_torchio, to_torchio

AFFINE = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -7], [0, 0, 3, 11], [0, 0, 0, 1]])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).uniform(0, 1, (10, 11, 12)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / "a.nii.gz")
    return tmp_path / "a.nii.gz"


@pytest.mark.filterwarnings("default")  # of TorchIO's own imports
def test_a_volume_lies_where_torchio_reads_it(file: Path) -> None:
    tio = pytest.importorskip("torchio", reason="needs TorchIO: pip install 'contrafact[torchio]'")
    canonical = tio.ToCanonical()
    ours, theirs = canonical(to_torchio(cf.read_image(file))), canonical(tio.ScalarImage(file))
    np.testing.assert_allclose(ours.data, theirs.data, atol=1e-6)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
    back = from_torchio(tio.ScalarImage(file))
    np.testing.assert_allclose(back.grid.affine, AFFINE, atol=1e-4)
    np.testing.assert_array_equal(to_torchio(back).data, tio.ScalarImage(file).data)


@pytest.mark.filterwarnings("default")
def test_a_heatmap_travels_with_its_image_in_a_subject() -> None:
    tio = pytest.importorskip("torchio", reason="needs TorchIO: pip install 'contrafact[torchio]'")
    image = noise_image(2, 1)
    heat = cf.explain("gradient", planted_predictor(2, 1), image, target=1)
    subject = tio.Subject(image=to_torchio(image), heatmap=to_torchio(heat))
    turned = tio.Flip(axes=(0,))(subject)
    np.testing.assert_allclose(turned.heatmap.data[0, ..., 0], heat.values[::-1])
    assert subject.heatmap["contrafact"] == "heatmap"
    assert from_torchio(subject.image).values.shape == (1, 16, 16)


def test_without_torchio_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchio", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'contrafact\[torchio\]'"):
        to_torchio(noise_image(2, 1))


def test_what_is_no_image_of_torchio_is_one_line() -> None:
    with pytest.raises(InputError, match="expected an image of TorchIO; got ndarray"):
        from_torchio(np.zeros((1, 4, 4, 4)))
