"""Model formats, one a file: from what lies on disk to a network and what its format states of it."""

from contrafact.models.formats.description import Description
from contrafact.models.formats.huggingface import HuggingFace
from contrafact.models.formats.monai_bundle import MonaiBundle
from contrafact.models.formats.nnunet import NnUNet
from contrafact.models.formats.onnx_graph import OnnxGraph
from contrafact.models.formats.other_formats import OtherFormats
from contrafact.models.formats.program import Program
from contrafact.models.formats.script import Script
from contrafact.models.formats.segmentation_models import SegmentationModels
from contrafact.models.formats.served import Served
from contrafact.models.formats.skops_file import SkopsFile
from contrafact.models.formats.state_dict import StateDict
from contrafact.models.formats.timm_name import TimmName
from contrafact.models.formats.torchvision_name import TorchvisionName

__all__ = [
    "Description",
    "HuggingFace",
    "MonaiBundle",
    "NnUNet",
    "OnnxGraph",
    "OtherFormats",
    "Program",
    "Script",
    "SegmentationModels",
    "Served",
    "SkopsFile",
    "StateDict",
    "TimmName",
    "TorchvisionName",
]
