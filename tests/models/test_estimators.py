"""Estimators of scikit-learn as models, and mistakes of a beginner that one line answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from contrafact.core import InputError
from contrafact.models import load_predictor
from contrafact.models.target_syntax import parse_target


def test_a_folder_that_is_no_model_is_answered_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a folder of MONAI .*: name the file of the model"):
        load_predictor(tmp_path)
    (tmp_path / "w.safetensors").touch()
    with pytest.raises(InputError, match=r"did you mean a file in it \(w.safetensors\)\?$"):
        load_predictor(tmp_path)


def test_a_class_by_name_where_classes_have_none_is_answered_with_the_option() -> None:
    for classes in ((), ("0", "1")):
        with pytest.raises(InputError, match=r"have no names: .* --classes other,narrow "):
            parse_target("narrow", kind="logits", classes=classes)
    with pytest.raises(InputError, match="did you mean 'wide'"):
        parse_target("wid", kind="logits", classes=("wide", "narrow"))
    with pytest.raises(InputError, match="did you mean 'boundary'"):
        parse_target("boundry", kind="logits", classes=())


def test_trees_in_a_skops_file_need_trust(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io", reason="no skops: pip install 'contrafact[skops]'")
    from sklearn.ensemble import (
        GradientBoostingClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )

    rng = np.random.default_rng(0)
    images = rng.normal(size=(60, 64)).astype(np.float32)
    for kind in (RandomForestClassifier, GradientBoostingClassifier, HistGradientBoostingClassifier):
        few = {"max_iter": 3} if kind is HistGradientBoostingClassifier else {"n_estimators": 3}
        model = kind(**few).fit(images, images[:, 9] > 0)
        skops.dump(model, tmp_path / "m.skops")
        with pytest.raises(InputError, match=r"give --trust .* skl2onnx.to_onnx"):
            load_predictor(tmp_path / "m.skops")
        predictor = load_predictor(tmp_path / "m.skops", trust=True)
        expected = torch.as_tensor(model.predict_proba(images[:3]), dtype=torch.float32)
        torch.testing.assert_close(predictor(images[:3].reshape(3, 1, 8, 8)), expected)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_network_of_scikit_learn_needs_no_trust(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io", reason="no skops: pip install 'contrafact[skops]'")
    from sklearn.neural_network import MLPClassifier

    images = np.random.default_rng(0).normal(size=(60, 64)).astype(np.float32)
    for solver in ("adam", "sgd"):
        model = MLPClassifier((4,), max_iter=3, solver=solver).fit(images, images[:, 9] > 0)
        skops.dump(model, tmp_path / "m.skops")
        values = load_predictor(tmp_path / "m.skops")(images[:3].reshape(3, 1, 8, 8))
        torch.testing.assert_close(
            values, torch.as_tensor(model.predict_proba(images[:3]), dtype=torch.float32)
        )


def test_an_onnx_graph_of_rows_takes_images(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="no onnx: pip install 'contrafact[onnx]'")
    pytest.importorskip("onnxruntime", reason="no onnxruntime: pip install 'contrafact[onnx]'")
    weights = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
    made, number = onnx.helper, onnx.TensorProto.FLOAT
    graph = made.make_graph(
        [made.make_node("MatMul", ["x", "w"], ["y"])],
        "rows",
        [made.make_tensor_value_info("x", number, [None, 64])],
        [made.make_tensor_value_info("y", number, [None, 2])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = made.make_model(graph, opset_imports=[made.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    predictor = load_predictor(tmp_path / "m.onnx")
    x = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(predictor(x), x.reshape(3, -1) @ torch.as_tensor(weights))
    assert predictor.preprocessing.size == (8, 8) and "8 x 8 pixels were assumed" in predictor.notes[0]
