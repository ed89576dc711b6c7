"""The presets of `contrafact explain --methods`: which methods each stands for."""

from __future__ import annotations

import dataclasses

import pytest

from conftest import small_network
from contrafact.bundles import load_bundle
from contrafact.cli.arguments import CHOICES, PRESETS, methods_of_preset
from contrafact.core import EXPLAINERS
from contrafact.models import TorchPredictor


@dataclasses.dataclass(frozen=True)
class OfOutputs:
    """A method of another package that asks the model for outputs alone."""


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A method of another package that makes a picture."""

    picture = True


@pytest.fixture
def more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two methods that this package does not know."""
    known = {name: EXPLAINERS.get(name) for name in EXPLAINERS.names()}
    monkeypatch.setattr(EXPLAINERS, "_classes", {**known, "of-outputs": OfOutputs, "drawn": Drawn})


def test_every_name_of_a_choice_is_a_registered_method() -> None:
    for names in CHOICES.values():
        assert [EXPLAINERS.canonical(name) for name in names] == list(names)


@pytest.mark.usefixtures("more")
def test_a_new_method_is_in_the_presets_that_its_class_says() -> None:
    model = TorchPredictor(small_network())
    found = {name: set(methods_of_preset(name, model, None)) for name in PRESETS}
    assert {name for name in found if "of-outputs" in found[name]} == {"without-gradients", "all"}
    assert {name for name in found if "drawn" in found[name]} == {"pictures"}
    assert found["without-gradients"] == {
        "of-outputs", "occlusion", "feature-ablation", "rise", "lime", "kernel-shap", "shapley-sampling",
    }  # fmt: skip
    assert found["pictures"] & found["all"] == set()


def test_with_a_bundle_the_standard_choice_has_its_engine_too() -> None:
    bundle = load_bundle("phantom")
    without, with_it = (methods_of_preset("standard", bundle.predictor, one) for one in (None, bundle))
    assert set(with_it) - set(without) == {bundle.own_method}
    assert methods_of_preset("without-gradients", bundle.predictor, bundle) == methods_of_preset(
        "without-gradients", bundle.predictor, None
    )
