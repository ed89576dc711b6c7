"""A TorchEsegeta configuration becomes a study that runs; nothing is passed over in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contrafact.attribution import TORCHESEGETA_NAMES
from contrafact.cli import main
from contrafact.core import InputError
from contrafact.study import convert_torchesegeta, read_study

METHODS = {
    "captum_Saliency": {"abs": False, "layer": "x"},
    "captum_occlusion": {"sliding_window_shapes": "1,11,11,11", "strides": 3, "target": [1, 2]},
    "captum_Integrated_Gradients": {"n_steps": 20},
    "cnn_vis_grad_cam": {"layer": "self.model.base.layer4[1].conv2"},
    "torchray_contrast_excitation_backprop": {},
    "lime_segmentation": {"num_samples": 50, "depth": 3},
    "torchray_Rise": False,
}
KINDS = [(axes, segments) for axes in (2, 3) for segments in (False, True)]


def configuration(axes: int, segments: bool) -> dict[str, Any]:
    head: dict[str, Any] = {
        "is_3d": axes == 3, "input_file": "case.nii.gz", "output_path": "results", "timeout": 120,
        "device_ids": [0, 1], "show_colorbar": True, "mystery": 4, "patch_size": 64, "patch_overlap": 16,
        "model_path": "net.pth",
    }  # fmt: skip
    if segments:
        head["wrapper_fnction"] = "multi_class"
    return {"settings": head, "methods": METHODS}


def converted(tmp_path: Path, tree: Any) -> tuple[Any, list[str]]:
    (tmp_path / "config.json").write_text(json.dumps(tree))
    found = convert_torchesegeta(tmp_path / "config.json")
    (tmp_path / "study.toml").write_text(found.text)
    return read_study(tmp_path / "study.toml"), found.notes


@pytest.mark.parametrize(("axes", "segments"), KINDS)
def test_four_kinds_become_a_study_with_what_has_a_meaning(tmp_path: Path, axes: int, segments: bool) -> None:
    study, notes = converted(tmp_path, configuration(axes, segments))
    assert study.images == ("case.nii.gz",)
    assert study.out == "results"
    assert study.limit_seconds == 120
    assert study.devices == ("cuda:0", "cuda:1")
    assert study.targets == (("region:1", "region:2") if segments else ("class:1", "class:2"))
    assert study.model.path == "net.json"
    assert study.model.patch == (64,) * axes
    assert study.model.overlap == 0.25
    occlusion = study.explainer("captum_occlusion")
    assert (occlusion.box, occlusion.stride) == ((11, 11, 11), 3)
    assert study.explainer("captum_Integrated_Gradients").steps == 20
    assert study.explainer("cnn_vis_grad_cam").layer == "layer4.1.conv2"
    assert study.explainer("torchray_contrast_excitation_backprop").contrastive
    assert study.explainer("lime_segmentation").samples == 50
    said = "\n".join(notes)
    for key in (
        "captum_Saliency.abs",
        "captum_Saliency.layer",
        "show_colorbar",
        "mystery",
        "depth",
        "Rise: disabled",
    ):
        assert key in said
    assert "mystery: unknown" in said
    assert "signed" in said


def test_every_key_is_taken_or_named(tmp_path: Path) -> None:
    tree = configuration(3, True)
    study, notes = converted(tmp_path, tree)
    taken = {
        "is_3d",
        "input_file",
        "output_path",
        "timeout",
        "device_ids",
        "patch_size",
        "patch_overlap",
        "model_path",
    }
    for key in tree["settings"]:
        named = any(note.split(":")[0].split(".")[-1] == key for note in notes)
        assert named or key in taken, key
    assert len(study.methods) == len(METHODS) - 1


@pytest.mark.parametrize("entry", TORCHESEGETA_NAMES)
def test_all_39_names_in_any_of_three_layouts(tmp_path: Path, entry: str) -> None:
    for tree in (
        {entry: {}},
        {"methods": [entry]},
        {"a": [{"method_name": f"Interpretability.{entry}", "library": "x"}]},
    ):
        study, _ = converted(tmp_path, tree)
        assert list(study.methods) == [entry]
        study.explainer(entry)


def test_noise_tunnel_becomes_smooth_around_the_method(tmp_path: Path) -> None:
    tree = {"captum_Saliency": {"nt_type": "vargrad", "nt_samples": 7, "stdevs": 0.2}}
    study, _ = converted(tmp_path, tree)
    smooth = study.explainer("captum_Saliency")
    assert (smooth.kind, smooth.samples, smooth.noise) == ("variance", 7, 0.2)
    assert smooth.inner["name"] == "gradient"


def test_what_is_no_configuration_is_refused(tmp_path: Path) -> None:
    for text, said in (("{", "not readable JSON"), ('{"a": 1}', "expected a method")):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(InputError, match=said):
            convert_torchesegeta(tmp_path / "c.json")
    with pytest.raises(InputError, match="does not exist"):
        convert_torchesegeta(tmp_path / "none.json")


def test_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(configuration(3, False)))
    assert main(["convert", "torchesegeta", str(path)]) == 0
    out = capsys.readouterr().out
    assert "left out: settings.mystery" in out
    assert read_study(tmp_path / "c.toml").limit_seconds == 120
    assert main(["convert", "torchesegeta", str(path)]) == 2
    assert "exists" in capsys.readouterr().err
