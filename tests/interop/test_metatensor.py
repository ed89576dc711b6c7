"""Images and results as MONAI's tensors: their geometry is that of the file, read by MONAI itself."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage, Orientation, SaveImage

import contrafact as cf
from conftest import PlantedBlock, noise_image
from contrafact.core import InputError
from contrafact.interop import from_metatensor, to_metatensor

pytestmark = pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")  # of MONAI, whatever it reads
AFFINE = np.array([[0, -2.0, 0.1, 5], [1.5, 0, 0, -7], [0, 0.2, 3, 11], [0, 0, 0, 1]])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).uniform(0, 1, (12, 12, 12)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / "a.nii.gz")
    return tmp_path / "a.nii.gz"


def test_a_volume_lies_where_monai_reads_it(file: Path) -> None:
    ours = Orientation("RAS")(to_metatensor(cf.read_image(file)))
    theirs = Orientation("RAS")(LoadImage("NibabelReader", ensure_channel_first=True)(file))
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor())
    torch.testing.assert_close(ours.affine, theirs.affine, rtol=0, atol=1e-5)


def test_an_image_of_monai_is_explained_on_its_grid_and_saved_by_monai(file: Path, tmp_path: Path) -> None:
    read = LoadImage("NibabelReader", ensure_channel_first=True)(file)
    image = from_metatensor(read)
    np.testing.assert_allclose(image.grid.affine, AFFINE, atol=1e-5)
    heat = cf.explain("gradient", PlantedBlock(3, 1, 12), image, target=1)
    tensor = to_metatensor(heat)
    assert '"gradient"' in tensor.meta["contrafact_record"] and tensor.meta["contrafact"] == "heatmap"
    SaveImage(tmp_path, output_postfix="map", print_log=False)(tensor, meta_data=None)
    [saved] = tmp_path.rglob("*map*.nii.gz")
    np.testing.assert_allclose(np.squeeze(nibabel.load(saved).get_fdata()), heat.values, atol=1e-6)
    np.testing.assert_allclose(nibabel.load(saved).affine, heat.grid.affine, atol=1e-4)


def test_a_tensor_of_monai_comes_back_as_it_was(file: Path) -> None:
    read = LoadImage("NibabelReader", ensure_channel_first=True)(file)
    back = to_metatensor(from_metatensor(read))
    assert torch.equal(back.as_tensor(), read.as_tensor())
    torch.testing.assert_close(back.affine, read.affine.to(back.affine), rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_flat_image_keeps_its_spacing(channels: int) -> None:
    values = np.random.default_rng(1).uniform(0, 1, (channels, 8, 9)).astype(np.float32)
    tensor = to_metatensor(cf.Image(values, cf.Grid((8, 9), spacing_mm=(0.5, 0.25))))
    assert tensor.shape == (channels, 8, 9) and tensor.spatial_ndim == 2
    assert from_metatensor(tensor).grid.spacing_mm == (0.5, 0.25)
    small = MetaTensor(torch.zeros(1, 4, 4), affine=torch.diag(torch.tensor([2.0, 3.0, 1.0])))
    assert from_metatensor(small).grid.spacing_mm == (2.0, 3.0)


def test_a_counterfactual_gives_the_changed_image_and_says_that_it_is_synthetic() -> None:
    strip = _strip()
    tensor = to_metatensor(strip)
    assert np.array_equal(tensor.numpy(), strip.frames[strip.end])
    assert tensor.meta["contrafact"] == "synthetic, not for diagnosis"
    assert to_metatensor(strip, frame=strip.origin).meta["contrafact"] == "original"
    with pytest.raises(InputError, match="frame must be 0 to 1; got 2"):
        to_metatensor(strip, frame=2)


def _strip() -> cf.Counterfactual:
    image = noise_image(2, 1)
    return cf.Counterfactual(
        frames=np.stack([image.values, image.values + 1]),
        requested=np.array([0.0, 1.0]),
        scores=np.array([-1.0, 1.0]),
        latent_distance=np.zeros(2),
        origin=0,
        reconstruction_error=0.0,
        above_tolerance=False,
        outcome="steps",
        goal=None,
        reconstruction=image.values,
        grid=image.grid,
    )


def test_what_is_no_image_of_monai_is_one_line() -> None:
    batch = MetaTensor(torch.zeros(2, 1, 4, 4, 4))
    posterior = MetaTensor(torch.zeros(1, 4, 4, 4), meta={"space": "LPS"})
    for given, said in ((torch.zeros(1, 4, 4), "MetaTensor"), (batch, "one by one"), (posterior, "RAS")):
        with pytest.raises(InputError, match=said):
            from_metatensor(given)
    for wrong in (np.zeros((4, 4)), "text"):
        with pytest.raises(InputError, match="expected an Image, a Heatmap or a Counterfactual"):
            to_metatensor(wrong)
    with pytest.raises(InputError, match="expected a counterfactual for frame 1"):
        to_metatensor(noise_image(2, 1), frame=1)
