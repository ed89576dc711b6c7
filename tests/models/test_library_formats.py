"""Networks of Hugging Face, timm, torchvision and segmentation-models-pytorch: a small one of each, from its
files to a map on the command line. Skipped where the library is not installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import save_file

from contrafact.cli import main
from contrafact.core import ContrafactWarning, InputError
from contrafact.models import Preprocessing, load_predictor
from vision_operators import has_torchvision, need_torchvision

X = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def scaled(mean: Any = MEAN, std: Any = STD, size: int | None = None) -> torch.Tensor:
    x = X if size is None else torch.nn.functional.interpolate(X, (size, size), mode="bilinear", antialias=True)
    shape = (1, 3, 1, 1)
    return (x / 255 - torch.tensor(mean).reshape(shape)) / torch.tensor(std).reshape(shape)


def explained(folder: Path, model: str, target: str, *options: str) -> dict[str, Any]:
    """Run `check` and `explain` as a user types them; return the row of the run."""
    values = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Picture.fromarray(values).save(folder / "image.png")
    assert main(["check", model, "--image", str(folder / "image.png"), *options]) == 0
    out = folder / "run"
    words = [
        "explain",
        str(folder / "image.png"),
        "--model",
        model,
        "--methods",
        "gradient",
        "--target",
        target,
    ]
    assert main([*words, *options, "--no-checks", "--out", str(out)]) == 0
    (row,) = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    return dict(row["record"])


# Hugging Face --------------------------------------------------------------------------------------------

NAMES = ("well", "ill", "other")
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 32, "width": 32},
    "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.5, 0.5, 0.2],
}  # fmt: skip


def transformers_of() -> Any:
    has_torchvision()  # transformers imports it where it is installed
    return pytest.importorskip("transformers", reason="no transformers: contrafact[huggingface]")


def vit(folder: Path, **more: Any) -> Any:
    """A folder of a small vision transformer."""
    transformers = transformers_of()
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32,
        patch_size=8, id2label=dict(enumerate(NAMES)), label2id={NAMES[1]: 1}, **more,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return model


def test_a_folder_of_hugging_face_is_read_with_its_names_and_preprocessing(tmp_path: Path) -> None:
    model = vit(tmp_path / "m")
    predictor = load_predictor(tmp_path / "m")
    assert predictor.classes == NAMES and predictor.output == "logits"
    with torch.no_grad():
        expected = model(scaled(PROCESSOR["image_mean"], PROCESSOR["image_std"], 32)).logits
    torch.testing.assert_close(predictor(X).detach(), expected, atol=1e-5, rtol=1e-4)
    assert predictor.digest == load_predictor(tmp_path / "m").digest


@pytest.mark.slow
def test_check_and_explain_take_a_folder_of_hugging_face(tmp_path: Path) -> None:
    vit(tmp_path / "m")
    assert explained(tmp_path, str(tmp_path / "m"), "ill")["target"] == "class:1"


@pytest.mark.slow
def test_a_segmenter_of_hugging_face(tmp_path: Path) -> None:
    transformers = transformers_of()
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 8], patch_sizes=[7, 3],
        strides=[4, 2], num_attention_heads=[1, 1], mlp_ratios=[1, 1], decoder_hidden_size=8,
        id2label={0: "background", 1: "polyp"},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.SegformerForSemanticSegmentation(config).eval()
    model.save_pretrained(tmp_path / "m")
    predictor = load_predictor(tmp_path / "m")
    words = ("--preprocessing", '{"window": [0, 255]}')
    assert predictor.classes == ("background", "polyp") and predictor(X / 255).ndim == 4
    assert explained(tmp_path, str(tmp_path / "m"), "volume:polyp", *words)["target"] == "volume:1"


@pytest.mark.parametrize(
    ("kind", "output"), [("multi_label_classification", "sigmoid"), ("regression", "regression")]
)
def test_the_kind_of_problem_is_that_of_the_configuration(tmp_path: Path, kind: str, output: str) -> None:
    vit(tmp_path / "m", problem_type=kind)
    assert load_predictor(tmp_path / "m").output == output


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"auto_map": {"AutoModel": "evil.py--Model"}}, "'auto_map', which names code"),
        ({"quantization_config": {"a": 1}}, "'quantization_config', which names code"),
        (
            {"backbone_config": {"use_pretrained_backbone": True}},
            "'use_pretrained_backbone', which would",
        ),
        ({"_attn_implementation": "them/kernel"}, "'auto_map', which names code"),
        ({"architectures": ["ViTModel"]}, "got ViTModel in 'architectures'"),
        ({"model_type": "none-of-these"}, "is not a configuration that transformers reads"),
    ],
)
def test_what_would_run_code_or_fetch_is_refused(tmp_path: Path, changes: Any, words: str) -> None:
    vit(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError, match=words):
        load_predictor(tmp_path / "m")


def test_pickled_weights_of_hugging_face_are_refused(tmp_path: Path) -> None:
    model = vit(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(InputError, match="expected model.safetensors"):
        load_predictor(tmp_path / "m")
    index = {"weight_map": {"a": "../other.safetensors"}}
    (tmp_path / "m" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="is no file of the folder"):
        load_predictor(tmp_path / "m")


# timm ----------------------------------------------------------------------------------------------------


def timm_of() -> Any:
    need_torchvision()
    return pytest.importorskip("timm", reason="no timm: contrafact[timm]")


@pytest.mark.slow
def test_a_network_of_timm_takes_its_outputs_from_the_weights(tmp_path: Path) -> None:
    timm = timm_of()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("resnet10t", num_classes=3).eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    model = f"timm:resnet10t.c3_in1k@{tmp_path / 'w.safetensors'}"
    predictor = load_predictor(model, classes=["a", "b", "c"])
    size = predictor.preprocessing.size[0]
    with torch.no_grad():
        expected = network(scaled(size=size))
    torch.testing.assert_close(predictor(X).detach(), expected, atol=1e-4, rtol=1e-4)
    assert explained(tmp_path, model, "class:2")["target"] == "class:2"


def test_grey_weights_of_timm_and_those_of_a_trainer(tmp_path: Path) -> None:
    timm = timm_of()
    network = timm.create_model("resnet10t", num_classes=2, in_chans=1).eval()
    torch.save({"state_dict": {f"net.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "w.ckpt")
    with pytest.warns(ContrafactWarning, match=r"begin with 'net\.'"):
        predictor = load_predictor(f"timm:resnet10t@{tmp_path / 'w.ckpt'}")
    assert predictor.preprocessing.channels == 1 and predictor(X[:, :1]).shape == (2, 2)


def test_an_unknown_name_of_timm_has_a_nearest_one(tmp_path: Path) -> None:
    timm_of()
    save_file({"a": torch.ones(1)}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="got 'resnet10x'.*did you mean 'resnet10t'"):
        load_predictor(f"timm:resnet10x@{tmp_path / 'w.safetensors'}")
    with pytest.raises(InputError, match="expected the name of a network of timm"):
        load_predictor(f"timm:hf_hub:them/net@{tmp_path / 'w.safetensors'}")
    with pytest.raises(InputError, match="with a file of its weights; got none"):
        load_predictor("timm:resnet10t")


# torchvision ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_network_of_torchvision_takes_its_outputs_from_the_weights(tmp_path: Path) -> None:
    need_torchvision()
    from torchvision import models

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.get_model("squeezenet1_1", weights=None, num_classes=4).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    model = f"torchvision:squeezenet1_1@{tmp_path / 'w.pth'}"
    predictor = load_predictor(model)
    with torch.no_grad():
        expected = network(scaled(size=224))
    torch.testing.assert_close(predictor(X).detach(), expected, atol=1e-4, rtol=1e-4)
    assert explained(tmp_path, model, "class:3")["target"] == "class:3"
    with pytest.raises(InputError, match="did you mean 'squeezenet1_1'"):
        load_predictor(f"torchvision:squeezenet1_2@{tmp_path / 'w.pth'}")


def test_a_segmenter_of_torchvision(tmp_path: Path) -> None:
    need_torchvision()
    from torchvision import models

    network = models.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=2)
    torch.save(network.eval().state_dict(), tmp_path / "w.pth")
    predictor = load_predictor(f"torchvision:lraspp_mobilenet_v3_large@{tmp_path / 'w.pth'}")
    assert predictor(X).shape[:2] == (2, 2) and predictor(X).ndim == 4


# segmentation-models-pytorch -----------------------------------------------------------------------------


def smp_of(classes: int) -> Any:
    need_torchvision()
    smp = pytest.importorskip("segmentation_models_pytorch", reason="no segmentation-models: contrafact[smp]")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        about: dict[str, Any] = {"encoder_depth": 3, "decoder_channels": (16, 8, 4)}
        return smp.Unet("resnet18", encoder_weights=None, classes=classes, **about).eval()


@pytest.mark.slow
def test_a_folder_of_segmentation_models(tmp_path: Path) -> None:
    network = smp_of(2)
    network.save_pretrained(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "encoder_weights": "imagenet"}))  # not fetched
    imagenet = Preprocessing(window=(0, 255), mean=MEAN, std=STD)
    predictor = load_predictor(tmp_path / "m", preprocessing=imagenet)
    assert predictor.preprocessing.channels == 3  # as the format states
    with torch.no_grad():
        expected = network(scaled())
    torch.testing.assert_close(predictor(X).detach(), expected, atol=1e-4, rtol=1e-4)
    words = ("--preprocessing", '{"window": [0, 255]}')
    assert explained(tmp_path, str(tmp_path / "m"), "volume:1", *words)["target"] == "volume:1"


def test_a_name_of_segmentation_models_with_weights(tmp_path: Path) -> None:
    need_torchvision()
    smp = pytest.importorskip("segmentation_models_pytorch", reason="no segmentation-models: contrafact[smp]")
    network = smp.FPN("mobilenet_v2", encoder_weights=None, classes=1, in_channels=1).eval()
    torch.save(network.state_dict(), tmp_path / "w.pth")
    predictor = load_predictor(f"smp:FPN/mobilenet_v2@{tmp_path / 'w.pth'}")
    assert predictor.output == "sigmoid" and predictor.preprocessing.channels == 1
    grey = X[:, :1] / 255
    torch.testing.assert_close(predictor(grey).detach(), network(grey).detach())
    with pytest.raises(InputError, match="did you mean 'Unet'"):
        load_predictor(f"smp:Unit/resnet18@{tmp_path / 'w.pth'}")
    with pytest.raises(InputError, match="expected smp:ARCHITECTURE/ENCODER@WEIGHTS"):
        load_predictor(f"smp:Unet@{tmp_path / 'w.pth'}")
