"""Folders, names and servers that would run code, read other files or fetch something: each is refused in one
line. Skipped where the library is not installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from contrafact.core import InputError
from contrafact.models import load_predictor
from vision_operators import has_torchvision, need_torchvision


def folder_of(path: Path, config: dict[str, Any]) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    save_file({"a": torch.ones(1)}, path / "model.safetensors", metadata={"format": "pt"})
    return path


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (  # timm opens that file, in some versions as a pickle
            {
                "model_type": "timm_wrapper",
                "architecture": "resnet18",
                "model_args": {"checkpoint_path": "x.pt"},
            },
            "holds a network of timm: give timm:NAME@",
        ),
        (  # its weights are fetched unless it says otherwise
            {"model_type": "upernet", "backbone_config": {"model_type": "timm_backbone", "backbone": None}},
            "holds a network of timm",
        ),
        ({"model_type": "upernet", "backbone": "them/net"}, "has 'backbone', which would fetch"),
        ({"model_type": "upernet", "backbone_kwargs": {"trust_remote_code": True}}, "has 'backbone_kwargs'"),
        ({"model_type": "vit", "transformers_weights": "../other.safetensors"}, "has 'transformers_weights'"),
    ],
)
def test_a_folder_of_hugging_face_names_no_other_model(tmp_path: Path, config: Any, words: str) -> None:
    has_torchvision()
    pytest.importorskip("transformers", reason="no transformers: contrafact[huggingface]")
    architecture = {"architectures": ["SomeForImageClassification"]}
    with pytest.raises(InputError, match=words):
        load_predictor(folder_of(tmp_path / "m", {**config, **architecture}))


def test_an_encoder_of_segmentation_models_gets_no_file(tmp_path: Path) -> None:
    need_torchvision()
    pytest.importorskip("segmentation_models_pytorch", reason="no segmentation-models: contrafact[smp]")
    config = {"_model_class": "Unet", "encoder_name": "tu-resnet18", "classes": 2, "checkpoint_path": "x.pt"}
    with pytest.raises(InputError, match="'checkpoint_path', which is no argument of Unet"):
        load_predictor(folder_of(tmp_path / "m", config))


@pytest.fixture
def servers() -> Iterator[dict[str, str]]:
    """Addresses of a server by what it answers; `asked` has the paths that were asked for."""
    asked: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                return
            if self.path == "/garbage":
                self.wfile.write(b"no line of HTTP\r\n\r\n")
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[" * 200_000)

        def log_message(self, *_words: Any) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield {"address": f"http://127.0.0.1:{server.server_port}", "asked": asked}  # type: ignore[dict-item]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "words"),
    [("moved", "answered 302"), ("deep", "could not be asked"), ("garbage", "could not be asked")],
)
def test_a_server_sends_nobody_elsewhere_and_its_faults_are_one_line(
    servers: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        load_predictor(f"{servers['address']}/{path}")
    assert servers["asked"] == [f"/{path}"]


def test_an_address_that_is_none_is_one_line() -> None:
    with pytest.raises(InputError, match="could not be asked"):
        load_predictor("https://[::1")


def test_a_description_that_names_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps({"model": "m.json/"}))
    with pytest.raises(InputError, match="got another description"):
        load_predictor(tmp_path / "m.json")


def test_deeply_nested_configurations_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text("{}")
    network = (
        '{"_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": [4, 8], '
    )
    network += '"strides": [2]}'
    text = f'{{"network_def": {network}, "x": {"[" * 800}{"]" * 800}}}'
    (tmp_path / "configs" / "inference.json").write_text(text)
    from monai.networks.nets import UNet

    made = UNet(spatial_dims=2, in_channels=1, out_channels=2, channels=[4, 8], strides=[2])
    torch.save(made.state_dict(), tmp_path / "models" / "model.pt")
    try:
        load_predictor(tmp_path)  # read without the part that is nested, or refused
    except InputError as error:
        assert "nested too deeply" in str(error)


def test_a_suffix_in_capitals_is_the_same_format(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 3)
    save_file(network.state_dict(), tmp_path / "W.SAFETENSORS")
    arguments = {"in_features": 2, "out_features": 3}
    predictor = load_predictor(tmp_path / "W.SAFETENSORS", factory="torch.nn:Linear", arguments=arguments)
    assert torch.equal(predictor.module.weight, network.weight)
