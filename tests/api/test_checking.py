"""`check` names what a network does that methods miss, and says exact, approximate or unsupported."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.api.compatibility import check_methods, findings_of
from contrafact.core import EXPLAINERS, Image
from contrafact.models import BlackBox, Steadiness, TorchPredictor, inspect_network


class Odd(nn.Module):
    """A functional ReLU, a module used twice, one that works in place, and a GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.twice = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.own, self.other, self.head = nn.ReLU(inplace=True), nn.GELU(), nn.Linear(4, 2)
        for layer in (self.conv, self.twice, self.head):
            layer.weight.data.mul_(4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        x = self.other(self.twice(self.own(self.twice(x))))
        return torch.as_tensor(self.head(x.mean(dim=(2, 3))))


@pytest.fixture
def odd() -> TorchPredictor:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TorchPredictor(Odd(), classes=["a", "b"])


@pytest.fixture
def image() -> Image:
    return Image(np.random.default_rng(0).uniform(0, 1, (1, 16, 16)).astype(np.float32))


def test_what_the_network_does_is_found(odd: TorchPredictor, image: Image) -> None:
    found = inspect_network(odd, image.values[None])
    assert found.functional == 1
    assert found.reused == ("twice",)
    assert found.in_place == ("own",)
    assert found.unchanged == {"GELU": 1}
    assert found.relus == 2
    said = " ".join(found.lines())
    for word in ("functional", "twice", "own", "GELU"):
        assert word in said
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in odd.module.modules())
    plain = TorchPredictor(nn.Sequential(nn.Flatten(), nn.Linear(256, 2)), classes=["a", "b"])
    assert findings_of(plain, image) == ["nothing that hooks would miss"]


def test_each_method_is_exact_approximate_or_unsupported_and_why(odd: TorchPredictor, image: Image) -> None:
    rows = {row["name"]: row for row in check_methods(odd, image)}
    assert {row["status"] for row in rows.values()} == {"exact", "approximate", "unsupported"}
    assert rows["guided-backprop"]["status"] == "approximate"
    assert "2 rectifier(s) changed, 1 GELU" in rows["guided-backprop"]["why"]
    assert rows["deeplift"]["status"] == "unsupported"
    assert "integrated-gradients" in rows["deeplift"]["why"]
    assert rows["integrated-gradients"]["status"] == "exact"
    assert rows["gradcam"]["status"] == "exact"
    assert rows["rise"]["status"] == "approximate"
    assert not rows["gradient-attention"]["works"]
    assert all(row["why"] for row in rows.values())


def test_a_network_without_relus_gets_no_guided_backprop(image: Image) -> None:
    smooth = nn.Sequential(nn.Conv2d(1, 3, 3), nn.GELU(), nn.Flatten(), nn.LazyLinear(2))
    smooth(torch.zeros(1, 1, 16, 16))
    rows = {row["name"]: row for row in check_methods(TorchPredictor(smooth, classes=["a", "b"]), image)}
    for name in ("guided-backprop", "deconvolution"):
        assert rows[name]["status"] == "unsupported"
        assert "plain gradient" in rows[name]["why"]


def test_attention_within_windows_is_followed_and_check_says_how_far(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("einops", reason="MONAI's transformers need einops")
    from monai.networks.nets import SwinUNETR

    names = ["attention-rollout", "gradient-attention"]
    monkeypatch.setattr(type(EXPLAINERS), "names", lambda _registry: names)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        predictor = TorchPredictor(SwinUNETR(1, 2, feature_size=12, spatial_dims=2), classes=["a", "b"])
    picture = Image(np.random.default_rng(0).uniform(0, 1, (1, 64, 64)).astype(np.float32))
    rows = list(check_methods(predictor, picture))
    assert [row["name"] for row in rows] == names
    for row in rows:
        assert row["status"] == "approximate"
        assert "8 layer(s) of attention within windows" in row["why"]


def test_a_black_box_can_be_asked_but_not_looked_into(image: Image) -> None:
    box = BlackBox(lambda x: np.stack([-x.mean((1, 2, 3)), x.mean((1, 2, 3))], axis=1), classes=["a", "b"])
    rows = {row["name"]: row for row in check_methods(box, image)}
    assert rows["occlusion"]["works"]
    assert not rows["gradient"]["works"]
    assert "black box" in findings_of(box, image)[0]


@pytest.mark.parametrize(
    ("again", "company", "steady"), [(0.0, 0.0, True), (1.0, 1.0, True), (2.0, 0.0, False), (0.0, 2.0, False)]
)
def test_both_differences_must_be_allowed(again: float, company: float, steady: bool) -> None:
    found = Steadiness(again=again, company=company, allowed=1.0)
    assert found.steady is steady
    assert bool(found.lines()) is not steady
