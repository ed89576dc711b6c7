"""torchvision without its compiled operators, which a build for another torch does not load: the networks of
classifiers and segmenters need none of them, but the import asks for their names."""

from __future__ import annotations

import importlib.util

import pytest
import torch

NAMES = (
    "nms", "qnms", "roi_align", "qroi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d",
    "_roi_align_backward", "_roi_pool_backward", "_ps_roi_align_backward", "_ps_roi_pool_backward",
    "_deform_conv2d_backward",
)  # fmt: skip
_kept: list[torch.library.Library] = []  # a library's names go with it


def need_torchvision() -> None:
    """Skip the test where torchvision is not installed; else let it be imported, whatever torch it is for."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("no torchvision: pip install 'contrafact[torchvision]'")
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in NAMES:
            library.define(f"{name}(Tensor images) -> Tensor")
        _kept.append(library)
