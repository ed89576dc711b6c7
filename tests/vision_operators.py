"""torchvision without its compiled operators, which a build for another torch does not load: the networks of
classifiers and segmenters need none of them, but the import asks for their names."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import pytest
import torch

NAMES = (
    "nms", "qnms", "roi_align", "qroi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d",
    "_roi_align_backward", "_roi_pool_backward", "_ps_roi_align_backward", "_ps_roi_pool_backward",
    "_deform_conv2d_backward",
)  # fmt: skip
_kept: list[torch.library.Library] = []  # a library's names go with it


def has_torchvision() -> bool:
    """Whether torchvision is installed; it can be imported then, whatever torch it was built for."""
    if importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in NAMES:
            library.define(f"{name}(Tensor images) -> Tensor")
        _kept.append(library)
        for module in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[module]
        importlib.import_module("torchvision")
    return True


def need_torchvision() -> None:
    """Skip the test where torchvision is not installed."""
    if not has_torchvision():
        pytest.skip("no torchvision: pip install 'contrafact[torchvision]'")
