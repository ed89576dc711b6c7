"""The nearest real cases on the other side of a decision: planted features, whose nearest is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from torch import nn

import contrafact as cf
from contrafact.api.nearest import CaseLibrary, candidates_of, distances
from contrafact.core import ContrafactWarning, Image, InputError, UnsupportedError
from contrafact.models import BlackBox, Preprocessing, TorchPredictor

SIDE = 8


class ChannelMeans(nn.Module):
    """The feature map is the image times `gains`; class 1 wins where the first channel is brighter than 0.5."""

    def __init__(self, gains: tuple[float, ...] = (1.0, 1.0, 1.0)) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)
        self.decide = nn.Linear(3, 2)
        with torch.no_grad():
            self.features.weight.copy_(torch.diag(torch.tensor(gains))[:, :, None, None])
            self.decide.weight.zero_()
            self.decide.weight[1, 0] = 20 / gains[0]
            self.decide.bias.copy_(torch.tensor([10.0, 0.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decide(self.features(x).mean(dim=(2, 3)))


def model(*gains: float) -> TorchPredictor:
    return TorchPredictor(ChannelMeans(gains or (1.0, 1.0, 1.0)), classes=["dark", "bright"])


def image(*levels: float, source: str = "") -> Image:
    values = np.broadcast_to(np.array(levels, np.float32)[:, None, None], (3, SIDE, SIDE))
    return Image(values, source=source)


# The first channel is the decision; of those on the other side, the second and third channels tell the nearest.
CASES = [
    image(0.2, 0.1, 0.9, source="far.png"),
    image(0.2, 0.9, 0.1, source="near.png"),
    image(0.2, 0.5, 0.5, source="middle.png"),
    image(0.8, 0.9, 0.1, source="own side.png"),
    image(0.8, 0.1, 0.9, source="own side, unlike.png"),
]
OWN = image(0.7, 0.85, 0.12, source="own.png")


def files(found: tuple[cf.RealCase, ...]) -> list[str]:
    return [one.file for one in found]


def test_the_planted_nearest_comes_first_and_its_place_is_told() -> None:
    found = cf.nearest_cases(model(), OWN, CASES, target="class:1")
    assert files(found.cases) == ["near.png", "middle.png", "far.png"]
    assert (found.across, found.same, found.left_out) == (3, 2, 0)
    near, middle, far = found.cases
    assert near.distance < middle.distance < far.distance
    assert [near.score < 0, near.answer] == [True, "dark 100 %; bright 0 %"]
    assert (near.nearer, far.nearer) == (0.5, 1.0)  # one of two on the own side is nearer than the first
    assert "3 of 5 cases" in found.words()
    assert found.overlap is None
    assert "no independent network" in found.words()


def test_the_other_side_is_asked_from_either_side_and_for_a_margin() -> None:
    dark = image(0.3, 0.1, 0.8)
    for target in ("class:1", "class:0", "margin:1,0", None):
        found = cf.nearest_cases(model(), dark, CASES, target=target, count=1)
        assert files(found.cases) == ["own side, unlike.png"]


def test_distances_are_those_of_the_closed_form() -> None:
    cases = np.array([[0.0, 0.0, 7.0], [2.0, 0.0, 7.0], [0.0, 4.0, 7.0], [2.0, 4.0, 7.0]])
    found = distances(
        cases, np.array([2.0, 2.0, 9.0])
    )  # standardised: (1, 0); the constant feature counts for none
    np.testing.assert_allclose(found, [1 + 0.5**0.5, 1 - 0.5**0.5, 1 + 0.5**0.5, 1 - 0.5**0.5])


def test_no_scale_of_a_feature_changes_the_order() -> None:
    found = cf.nearest_cases(model(1.0, 1000.0, 0.001), OWN, CASES, target="class:1")
    assert files(found.cases) == ["near.png", "middle.png", "far.png"]


def test_an_independent_network_names_its_own_and_the_overlap_is_told() -> None:
    class Third(ChannelMeans):
        """Features are of the third channel alone, mirrored."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.decide(
                self.features(torch.stack([x[:, 0], -x[:, 2], -x[:, 2]], dim=1)).mean(dim=(2, 3))
            )

    second = TorchPredictor(Third(), classes=["dark", "bright"])
    own = image(0.7, 0.1, 0.1, source="own.png")
    found = cf.nearest_cases(model(), own, CASES[:2] + CASES[3:], target="class:1", count=1, by=second)
    assert files(found.by_other) == ["near.png"]
    assert found.cases[0].other_rank in (1, 2)
    assert found.overlap == int(files(found.cases) == ["near.png"])
    assert "By the features of an independent network" in found.words()
    itself = cf.nearest_cases(model(), own, CASES, target="class:1", by=model())
    assert itself.overlap is None  # a network does not confirm itself


def test_the_image_itself_is_never_named_nor_another_of_its_patient(tmp_path: Path) -> None:
    levels = {"a": 0.2, "b": 0.21, "c": 0.3, "d": 0.8, "e": 0.9, "own": 0.7}
    for name, level in levels.items():
        np.save(tmp_path / f"{name}.npy", image(level, level / 2, 0.1).values)
    table = tmp_path / "cohort.csv"
    patients = {"a": "1", "b": "2", "c": "2", "d": "1", "e": "3", "own": "2"}
    table.write_text("path,patient,label\n" + "".join(f"{n}.npy,{patients[n]},L{n}\n" for n in levels))
    own = cf.read_image(tmp_path / "own.npy")
    found = cf.nearest_cases(model(), own, table, target="class:1")
    assert files(found.cases) == ["a.npy"]
    assert found.cases[0].label == "La"
    assert found.left_out == 3
    np.save(tmp_path / "copy of own.npy", own.values)  # another file, another name, the same values
    copied = cf.read_image(tmp_path / "copy of own.npy")
    assert files(cf.nearest_cases(model(), copied, table, target="class:1").cases) == ["a.npy"]


def test_a_folder_without_a_case_on_the_other_side_says_so() -> None:
    found = cf.nearest_cases(model(), OWN, [image(0.8, 0.1 * k, 0.5) for k in range(4)], target="class:1")
    assert found.cases == found.by_other == ()
    assert found.words() == "No real case lies on the other side of the decision on class:1 (0 of 4 cases)."


def test_images_of_several_sizes_are_compared_and_each_is_asked_once() -> None:
    asked = []

    class Counted(ChannelMeans):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            asked.append(len(x))
            return super().forward(x)

    larger = Image(np.broadcast_to(np.array([0.2, 0.88, 0.1], np.float32)[:, None, None], (3, 12, 10)))
    library = CaseLibrary.of(TorchPredictor(Counted(), classes=["dark", "bright"]), [*CASES, larger])
    _ = library.features
    before = len(asked)
    for own in (OWN, image(0.6, 0.2, 0.2)):
        found = cf.nearest_cases(model(), own, library, target="class:1", count=9)
        assert len(found.cases) == 4
    assert sum(asked[before:]) <= 4  # the images alone: a pass for the features and one for the decision


@pytest.mark.parametrize(
    ("cases", "target", "told"),
    [
        (CASES[:2], "class:1", "expected at least 3 cases that can be read; got 2"),
        (CASES, "value:0", "expected a target with a decision"),
        (CASES, "region:1", "expected a target with a decision"),
        (
            [*CASES, Image(np.zeros((1, 8, 8)))],
            "class:1",
            "expected cases of one kind; got 2D with 1 channel, 2D",
        ),
        ([Image(np.zeros((1, 8, 8)))] * 3, "class:1", "expected"),
    ],
)
def test_bad_input_is_one_line(cases: list[Image], target: str, told: str) -> None:
    with pytest.raises((InputError, RuntimeError), match=told) as error:
        cf.nearest_cases(model(), OWN, cases, target=target)
    assert "\n" not in str(error.value)


def test_a_model_without_layers_and_a_file_as_cases_are_refused(tmp_path: Path) -> None:
    closed = BlackBox(lambda x: np.zeros((len(x), 2)), classes=["dark", "bright"])
    with pytest.raises(UnsupportedError, match="expected a model whose layers can be read"):
        cf.nearest_cases(closed, OWN, CASES, target="class:1")
    picture = tmp_path / "one.png"
    Picture.fromarray(np.zeros((8, 8), np.uint8)).save(picture)
    with pytest.raises(
        InputError, match="expected cases as a folder of images or a cohort's CSV; got the file"
    ):
        cf.nearest_cases(model(), OWN, picture, target="class:1")
    with pytest.raises(InputError, match="does not exist"):
        cf.nearest_cases(model(), OWN, tmp_path / "nowhere", target="class:1")
    with pytest.raises(InputError, match="count must be at least 1; got 0"):
        cf.nearest_cases(model(), OWN, CASES, target="class:1", count=0)


def test_a_case_that_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    for number, one in enumerate(CASES):
        np.save(tmp_path / f"{number}.npy", one.values)
    (tmp_path / "broken.npy").write_bytes(b"no array")
    with pytest.warns(ContrafactWarning, match="1 of 6 cases cannot be read and are left out: .*broken.npy"):
        found = cf.nearest_cases(model(), OWN, tmp_path, target="class:1")
    assert files(found.cases)[0] == "1.npy"


def test_another_case_or_label_or_network_is_another_library(tmp_path: Path) -> None:
    digests = {
        CaseLibrary(model(), candidates_of(CASES)).digest,
        CaseLibrary(model(), candidates_of(CASES[:4])).digest,
        CaseLibrary(model(), candidates_of(CASES), by=model(1.0, 2.0, 1.0)).digest,
    }
    assert len(digests) == 3
    assert CaseLibrary(model(), candidates_of(CASES), by=model()).digest in digests


def test_preprocessing_of_other_images_is_that_of_the_model() -> None:
    scaled = TorchPredictor(
        ChannelMeans(), classes=["dark", "bright"], preprocessing=Preprocessing(window=(0, 255))
    )
    cases = [Image(one.values * 255, source=one.source) for one in CASES]
    found = cf.nearest_cases(scaled, Image(OWN.values * 255), cases, target="class:1")
    assert files(found.cases) == ["near.png", "middle.png", "far.png"]
