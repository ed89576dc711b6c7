"""The control of a strip as a notebook loads it: in a browser, with a model that stands in for the kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the page needs contrafact[view]")
pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from browsing import Site, serving, strip
from contrafact.report.notebook import strip_traits
from contrafact.viewer.app import WEB
from visiting import AXE, Visit

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>cell</title>
<link rel="icon" href="data:,"><body style="background:#fff">
<main><h1>A cell</h1><div id="one"></div></main></body></html>"""
# Bytes come as a DataView into a larger buffer, as they do from a kernel.
MODEL = """(given, bytes) => {
  const state = { ...given }, heard = {}, saved = [];
  for (const [name, list] of Object.entries(bytes)) {
    const all = new Uint8Array(list.length + 4); all.set(list, 4);
    state[name] = new DataView(all.buffer, 4, list.length);
  }
  window.model = {
    get: name => state[name], saved,
    set(name, value) { state[name] = value; },
    save_changes() { saved.push({ position: state.position, slice: state.slice }); },
    on: (name, hear) => (heard[name] ??= []).push(hear),
    off: (name, hear) => { heard[name] = heard[name].filter(h => h !== hear); },
    tell(name, value) { state[name] = value; (heard['change:' + name] ?? []).forEach(hear => hear()); },
    heard,
  };
}"""


@pytest.fixture
def site() -> Iterator[Site]:
    async def page(_: Any) -> Response:
        return HTMLResponse(PAGE)

    async def script(_: Any) -> Response:
        return Response((WEB / "widget.js").read_bytes(), media_type="text/javascript")

    with serving(Starlette(routes=[Route("/", page), Route("/widget.js", script)])) as site:
        yield site


def render(visit: Visit, one: Any, **more: Any) -> None:
    traits = {**strip_traits(one, (0, 255)), "position": 4.0, "slice": -1, "slices": 0, **more}
    bytes_ = {name: list(traits.pop(name)) for name in ("frames", "reconstruction")}
    visit.go("/", "h1")
    visit.page.evaluate(f"async ([given, bytes]) => {{ ({MODEL})(given, bytes); "
                        "const widget = (await import('/widget.js')).default; "
                        "window.stop = widget.render({ model, el: document.getElementById('one') }); }",
                        [json.loads(json.dumps(traits)), bytes_])  # fmt: skip
    visit.page.wait_for_selector("#one .film")


def canvas(visit: Visit) -> np.ndarray:
    """Grey levels of the middle row."""
    visit.painted()
    row = """() => {
      const drawn = document.getElementById('one').shadowRoot.querySelector('[data-panel=changed]');
      const row = Object.assign(document.createElement('canvas'), { width: drawn.width, height: 1 });
      const context = row.getContext('2d');
      context.drawImage(drawn, 0, -drawn.height / 2);
      return [...context.getImageData(0, 0, row.width, 1).data].filter((_, i) => i % 4 === 0);
    }"""
    return np.asarray(visit.page.evaluate(row))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_control_draws_the_frames_and_tells_its_position(browser: Any, site: Site, width: int) -> None:
    with Visit(browser, site, width) as visit:
        render(visit, strip("knee"))
        last = canvas(visit)
        assert abs(last[2] - 40) <= 1 and abs(last[-3] - 190) <= 1  # the frame that is 40 brighter
        stage = visit.page.locator("#one .viewing")
        assert visit.page.get_attribute("#one", "data-lm-suppress-shortcuts") == "true"
        stage.focus()
        visit.page.keyboard.press("ArrowLeft")
        assert abs(canvas(visit)[2] - 30) <= 1
        assert visit.page.evaluate("model.saved.at(-1).position") == 3
        visit.page.evaluate("model.tell('position', 0)")  # Python moves it
        assert abs(canvas(visit)[2] - 0) <= 1
        assert visit.page.evaluate("model.saved.length") == 1
        visit.page.locator("#one .film button").nth(2).click()
        visit.page.wait_for_function("model.get('position') === 2")
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        style = (
            "getComputedStyle(document.getElementById('one').shadowRoot.querySelector('.card')).backgroundColor"
        )
        assert visit.page.evaluate(style) == "rgb(22, 27, 32)"
        assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        if AXE.exists():
            visit.page.evaluate(AXE.read_text())
            found = visit.page.evaluate("axe.run()")["violations"]
            assert [(f["id"], f["nodes"][0]["html"]) for f in found] == []
        visit.page.evaluate("stop()")
        assert visit.page.evaluate("Object.values(model.heard).flat().length") == 0


def test_slices_of_a_volume_are_asked_of_the_kernel(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        render(visit, strip("knee"), slices=7, slice=3)
        visit.page.locator("#one input").first.evaluate(
            "e => { e.value = 5; e.dispatchEvent(new Event('input')); }"
        )
        assert visit.page.evaluate("model.saved.at(-1).slice") == 5
        visit.page.evaluate("model.tell('frames', new DataView(new Float32Array(5 * 256).fill(100).buffer))")
        assert (abs(canvas(visit) - 100) <= 1).all()
