"""What a notebook shows: the true pixels and figures, escaped, from nowhere else."""

from __future__ import annotations

import base64
import importlib.util
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from browsing import DOUBT, HOSTILE, PASSED, SIDE, heatmap, ramp, record, strip
from contrafact.core import Grid, Heatmap, Image, InputError, UnsupportedError
from contrafact.metrics import Check, TrustCard
from contrafact.report.notebook import over, strip_traits


class Reading(HTMLParser):
    """Tags that are opened and closed, words, and pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words, self.pictures, self.names = "", [], []  # type: ignore[var-annotated]
        self.feed(html)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        about = dict(attributes)
        assert tag not in ("script", "link", "iframe", "style") and not any(n.startswith("on") for n in about)
        if tag == "img":
            assert about["src"].startswith("data:image/png;base64,")
            content = base64.b64decode(about["src"].split(",")[1])
            self.pictures.append(np.asarray(Picture.open(io.BytesIO(content))).astype(int))
            self.names.append(about["alt"])
        elif tag not in ("br", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += " " + " ".join(data.split())


def shown(thing: Any) -> Reading:
    html = thing._repr_html_()
    assert "http" not in html.replace("data:image", "")
    return Reading(html)


def test_an_image_through_its_window() -> None:
    page = shown(Image(ramp(), window=(0, 150), source="/data/knee.png"))
    [pixels] = page.pictures
    np.testing.assert_array_equal(pixels[0, :, 0], np.round(ramp()[0, 0] / 150 * 255))
    assert "16 × 16 px, pixel size unknown · window 0 to 150 · knee.png" in page.words
    sized = shown(Image(ramp(), Grid((SIDE, SIDE), spacing_mm=(0.2, 0.3)), window=(0, 150)))
    assert "16 × 16 px, pixels of 0.2 × 0.3 mm" in sized.words
    assert "/data" not in page.words


def test_a_heatmap_in_the_colours_of_its_signs() -> None:
    page = shown(heatmap("knee", strength=2.0))
    [pixels] = page.pictures
    assert pixels.shape == (480, 480, 3)  # 30 for each of the map's
    assert tuple(pixels[165, 165]) == (255, 150, 40)
    assert tuple(pixels[330, 330]) == (35, 80, 128)  # half as strong, against
    assert pixels[0, 0].sum() == 0
    assert "gradcam for class:1" in page.words and "against class:1: 2" in page.words
    assert "Orange: evidence for class:1; blue: against class:1. White line: the strongest 10 %." in page.words
    line = (pixels == 255).all(axis=-1)
    assert line[105:120, 180].any() and line[180, 105:120].any()  # above and left of the strong block
    assert not line[165, 165] and not line[:90].any()


def test_a_map_that_is_empty_says_so() -> None:
    page = shown(heatmap("knee", strength=0.0))
    assert "The map is zero everywhere" in page.words and "against" not in page.words
    assert "White line" not in page.words and not page.pictures[0].any()


def test_a_map_over_its_image_needs_the_same_grid() -> None:
    page = shown(over(Image(ramp(), window=(0, 150)), heatmap("knee")))
    assert page.pictures[0][0, -1, 0] == 191  # three quarters of white, where the map says nothing
    with pytest.raises(InputError, match="on one grid"):
        over(Image(np.zeros((1, 8, 8), np.float32)), heatmap("knee"))


def volume() -> Heatmap:
    values = np.zeros((6, 8, 10), np.float32)
    values[4, 2, 3] = 1
    return Heatmap(values=values, grid=Grid((6, 8, 10), spacing_mm=(3, 1, 1)), record=record("gradcam", "v"))


def test_a_volume_in_three_planes_in_true_proportions() -> None:
    page = shown(volume())
    assert [name.split(", ")[1] for name in page.names] == ["sagittal", "coronal", "axial"]
    assert all((pixels.max(axis=-1) > 100).any() for pixels in page.pictures)
    assert all((pixels.min(axis=-1) > 200).any() for pixels in page.pictures)  # the line around the strongest
    sizes = re.findall(r'width="(\d+)" height="(\d+)"', volume()._repr_html_())
    assert sizes == [("384", "480"), ("480", "267"), ("480", "213")]  # of 18 × 8 × 10 mm
    assert "slice 5 of 6, with the most evidence" in page.words
    image = Image(np.ones((1, 6, 8, 10), np.float32), grid=volume().grid)
    assert len(shown(image).pictures) == 3
    assert len(shown(over(image, volume())).pictures) == 3


def test_a_strip_with_what_was_measured() -> None:
    page = shown(strip("knee"))
    panels, film = page.names[:3], page.names[3:]
    assert panels == ["original", "synthetic", "difference from the original"]
    assert film == ["original", *["synthetic"] * 4]
    assert "class:1: 12 % → 83 %" in page.words  # 1 / (1 + exp(2)), 1 / (1 + exp(-1.6))
    assert "original 12 %" in page.words and "synthetic 83 %" in page.words
    assert "The goal was reached with this change. Reconstruction error: 0.10 logits, within" in page.words
    assert "full colour: ±37.5, 25 % of the display window" in page.words  # of 0 to 150
    assert "+4.00" in page.words and "+3.60" in page.words and "measured" not in page.words
    assert "NOT FOR DIAGNOSIS" in page.words
    bad = shown(strip("knee", above_tolerance=True, outcome="budget", goal=None))
    assert "Do not rely on this counterfactual" in bad.words
    assert "No counterfactual was found within" in bad.words


def test_three_panels_of_480_pixels_stand_under_one_sentence() -> None:
    html = strip("knee")._repr_html_()  # type: ignore[operator]
    page = Reading(html)
    said = "Prediction class:1: 12 % → 83 %, not checked by a second model. Half of the change lies in 50 % of"
    assert " ".join(page.words.split()).startswith(f"{said} the image. SYNTHETIC · NOT FOR DIAGNOSIS")
    assert re.findall(r'width="(\d+)" height="(\d+)"', html)[:3] == [("480", "480")] * 3
    first, second, change = page.pictures[:3]
    assert second[0, 0, 0] - first[0, 0, 0] == 68  # 40 of the 150 grey levels of the window
    assert change.shape[:2] == (480, 480) and (change[..., 0] > change[..., 2]).all()  # alike: no outline
    assert page.words.count("second model") == 1
    wrong = shown(strip("knee", outcome="budget", goal=None))
    assert "No counterfactual was found" in wrong.words.split("SYNTHETIC")[0] and len(wrong.pictures) == 8


def test_a_long_strip_shows_some_of_its_frames_and_says_so() -> None:
    count = 40
    frames = np.stack([ramp(level=float(k)) for k in range(count)])
    line = np.arange(float(count))
    page = shown(
        strip("knee", frames=frames, requested=line, scores=line, latent_distance=line, origin=7, record=None)
    )
    assert len(page.pictures) == 3 + 10 and "10 of 40 frames" in page.words
    assert page.names[3:].count("original") == 1 and page.names[3:].count("synthetic") == 9


def test_a_record_and_a_trust_card_in_words() -> None:
    page = shown(record("rise", "abc"))
    assert "rise for class:1" in page.words and '"image": "abc"' in page.words
    card = TrustCard([Check(**DOUBT), Check(**PASSED), Check("seeds", None, None, None, "Not checked: slow.")])
    page = shown(card)
    said = "Warning: Noise moves it. Passed: model randomisation. seeds: Not checked: slow."
    assert " ".join(page.words.split()).endswith(said)
    assert card[1] == Check(**PASSED) and "Not checked." in shown(TrustCard()).words


def test_hostile_words_stay_words() -> None:
    for thing in (
        Image(ramp(), source=HOSTILE),
        record(HOSTILE, HOSTILE),
        strip("x", record=record(HOSTILE, "x")),
        TrustCard([Check(HOSTILE, None, None, False, HOSTILE)]),
    ):
        page = shown(thing)
        assert "script>" in page.words
    assert "<img src=x" not in heatmap("x", method=HOSTILE)._repr_html_()  # type: ignore[operator]


def test_showing_a_result_loads_no_torch_and_importing_the_package_no_pictures() -> None:
    code = (
        "import sys, contrafact as cf; a = 'contrafact.report' in sys.modules\n"
        "import numpy as np; html = cf.Image(np.zeros((1, 4, 4)))._repr_html_()\n"
        "print(a, html.strip()[:4], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False <div False"


def test_what_the_control_gets_is_the_strip() -> None:
    one = strip("knee")
    traits = strip_traits(one, None)
    found = np.frombuffer(traits["frames"], "<f4").reshape(traits["shape"])
    np.testing.assert_array_equal(found, one.frames)
    np.testing.assert_array_equal(
        np.frombuffer(traits["reconstruction"], "<f4").reshape(1, SIDE, SIDE), ramp(level=1)
    )
    assert traits["window"] == [0, 150] and traits["about"]["scores"][-1] == pytest.approx(1.6)


def test_without_anywidget_the_widget_says_what_to_install() -> None:
    if importlib.util.find_spec("anywidget"):
        pytest.skip("anywidget is installed here")
    with pytest.raises(UnsupportedError, match=re.escape("pip install 'contrafact[notebook]'")):
        importlib.import_module("contrafact.report.widget")


def test_the_widget_keeps_its_position_in_the_strip_and_sends_slices() -> None:
    pytest.importorskip("anywidget", reason="the widget needs contrafact[notebook]")
    from contrafact.report.widget import StripWidget

    widget = StripWidget(strip("knee"))
    assert widget.position == 4 and widget.slices == 0
    widget.position = 9
    assert widget.position == 4
    frames = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 1, 3, 4, 5)
    line = np.arange(2.0)
    deep = strip(
        "v",
        frames=frames,
        requested=line,
        scores=line,
        latent_distance=line,
        grid=Grid((3, 4, 5)),
        reconstruction=frames[0],
    )
    widget = StripWidget(deep, window=(0, 10))
    assert (widget.slices, widget.slice, list(widget.window)) == (3, 1, [0, 10])
    before = widget.frames
    widget.slice = 2
    found = np.frombuffer(widget.frames, "<f4")
    assert widget.frames != before and sorted(found) == sorted(frames[:, :, 2].ravel())
    assert "export" in widget._esm and "http:" not in widget._esm.replace("http://www.w3.org/2000/svg", "")
