"""A page in a real browser: a visit that notes all that went wrong, and what every page must pass."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from playwright.sync_api import Error as Trouble
from playwright.sync_api import sync_playwright

from browsing import Site, entered, serving
from contrafact import render
from contrafact.io import Run
from contrafact.viewer import make_app
from contrafact.viewer.live.app import live_app
from contrafact.viewer.live.service import LiveService
from contrafact.viewer.live.tasks import LiveSetting
from pretending import start

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (1280, 390)
WEB = Path(render.__file__).parent / "web"
AXE = WEB / "node_modules/axe-core/axe.min.js"
PROGRESS = "document.getElementById('progress').textContent"
ORANGE, BLUE = (255, 150, 40), (70, 160, 255)


@contextlib.contextmanager
def chromium(*words: str) -> Iterator[Any]:
    """The browser, started with these words; a test is skipped where there is none."""
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has no sandbox for root
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=[*words, *root])
        yield browser
        browser.close()


@contextlib.contextmanager
def live_site(run: Run, bundle: str = "toy") -> Iterator[Site]:
    """A run with live questions, which a worker answers that computes nothing."""
    desk = LiveService(run, LiveSetting(bundles=(bundle,)), begin=start)
    try:
        with serving(entered(make_app(run, live_app(desk)))) as site:
            yield site
    finally:
        desk.close()


class Visit:
    """A page, and all that went wrong on it."""

    def __init__(self, browser: Any, site: Site, width: int = 1280) -> None:
        self.site, self.wrong, self.asked = site, [], []  # type: ignore[var-annotated]
        self.context = browser.new_context(viewport={"width": width, "height": 900})
        self.page = self.context.new_page()
        self.page.on("console", self.heard)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog {dialog.message}") or dialog.dismiss())

    def heard(self, message: Any) -> None:
        slow = "GL Driver Message" in message.text  # a browser without a GPU says that it is slow
        if message.type in ("error", "warning") and not slow:
            self.wrong.append(message.text)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        wrong, elsewhere = self.wrong, [u for u in self.asked if not u.startswith(self.site.link + "/")]
        self.context.close()
        if kind is None:
            assert not wrong and not elsewhere, (wrong, elsewhere)

    def go(self, path: str, wait: str) -> None:
        self.page.goto(self.site.link + path)
        self.page.wait_for_selector(wait)

    def pixels(self, stage: int | str = 0) -> np.ndarray:
        """The drawn canvas of a stage, or of a panel by its name, (H, W, 3); waits until it is painted."""
        self.painted()
        which = f"[data-panel={stage}]" if isinstance(stage, str) else ".stage canvas"
        content = self.page.evaluate(
            "([q, k]) => document.querySelectorAll(q)[k].toDataURL('image/png').split(',')[1]",
            [which, 0 if isinstance(stage, str) else stage],
        )
        return np.asarray(Picture.open(io.BytesIO(base64.b64decode(content))).convert("RGB")).astype(int)

    def painted(self) -> None:
        """Until nothing that was asked for is still to be painted."""
        self.until("!document.documentElement.hasAttribute('data-painting')")

    def until(self, words: str, seconds: float = 20) -> None:
        """Until an expression is true; the policy of the pages lets Playwright's own way not run."""
        ends = time.monotonic() + seconds
        while not self.page.evaluate(words):
            assert time.monotonic() < ends, words
            self.page.wait_for_timeout(30)

    def slide(self, label: str, value: float, nth: int = 0) -> None:
        box = self.page.locator("label.slider", has_text=label).nth(nth).locator("input")
        box.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", value)

    def choose(self, text: str) -> None:
        self.page.get_by_role("radio", name=text, exact=True).click()

    def fits(self) -> bool:
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def open_case(visit: Visit, name: str) -> None:
    visit.go(f"/?q={name.replace(' ', '+')}", "#lines tr")
    visit.page.click("#lines tr a")
    visit.page.wait_for_selector(".film")
    visit.painted()


def near(pixels: np.ndarray, colour: Any, within: int = 4) -> np.ndarray:
    return np.abs(pixels - np.array(colour)).max(axis=-1) <= within


UNNAMED = """() => [...document.querySelectorAll('button, a, input, select, img, canvas, svg, table, progress')]
  .filter(e => e.checkVisibility() && !e.closest('[aria-hidden=true]'))
  .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.hasAttribute('alt')
    || e.labels?.length || e.getAttribute('aria-labelledby')))
  .map(e => e.outerHTML.slice(0, 120))"""
PALE = """() => {
  const part = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const under = e => {
    const layers = [];
    for (; e; e = e.parentElement) layers.push(numbers(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, [r, g, b, a = 1]) =>
      below.map((v, i) => v * (1 - a) + [r, g, b][i] * a), [255, 255, 255]);
  };
  return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility()
    && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && !e.disabled).map(e => {
      const style = getComputedStyle(e), svg = e instanceof SVGElement;
      const [a, b] = [light(numbers(svg ? style.fill : style.color)), light(under(e))].sort((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05);
      return ratio < 4.5 ? `${ratio.toFixed(2)} ${e.outerHTML.slice(0, 80)}` : null;
    }).filter(Boolean);
}"""


ALL = "button, input, select, summary, a[href], [tabindex='0']"
# The next control that was not moved yet; those that came while others moved go first, before they leave again.
FRESH = f"""() => {{
  const found = [...document.querySelectorAll("{ALL}")].filter(e =>
    !e.dataset.moved && e.checkVisibility() && !e.disabled && !e.classList.contains("skip"));
  const come = document.body.dataset.begun ? found.filter(e => !e.dataset.seen) : [];
  found.forEach(e => e.dataset.seen = "yes");
  document.body.dataset.begun = "yes";
  const next = come[0] ?? found[0] ?? null;
  if (next) next.dataset.moved = "yes";
  return next;
}}"""
KIND = "e => e.localName === 'input' ? e.type : e.localName"


def move(visit: Visit, one: Any, kind: str) -> None:
    """Do with a control what people do; one that moves a value must say another one at its other end."""
    page = visit.page
    said: Callable[[], Any] = lambda: one.evaluate("e => [e.value, e.getAttribute('aria-valuetext')].join()")  # noqa: E731
    if kind == "range":
        one.focus()
        page.keyboard.press("Home")
        low = said()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("End")
        assert said() != low, one.evaluate("e => e.parentElement.textContent")
    elif kind in ("checkbox", "radio"):
        before = one.is_checked()
        one.click()
        assert one.is_checked() != before or (kind == "radio" and before)
    elif kind in ("search", "text"):
        lines = "document.querySelectorAll('#lines tr').length"
        before = page.evaluate(lines)
        one.fill("zz")
        one.fill("")
        visit.until(f"{lines} >= {before}")  # the list is as it was, also on a busy machine
    elif kind == "number":
        for value in (one.get_attribute("max"), one.get_attribute("min")):
            one.fill(value)
            one.press("Enter")
    elif kind == "select":
        for value in one.evaluate("e => [...e.options].map(o => o.value)"):
            one.select_option(value)
            visit.painted()
        one.select_option(index=0)
    elif kind == "a":
        address = one.evaluate("e => e.href")
        if "#" in address:
            one.click()
        else:
            assert address.startswith(visit.site.link + "/"), address
            assert visit.site.ask(address.removeprefix(visit.site.link)).status == 200, address
    elif kind in ("button", "summary"):
        one.click()
        if one.get_attribute("data-key") == "full":
            visit.until("document.fullscreenElement !== null")
            one.click()
            visit.until("document.fullscreenElement === null")
        if one.evaluate("e => e.isConnected") and one.text_content() == "Stop":
            page.wait_for_timeout(120)
            one.click()
    else:  # a picture or a table that takes keys
        one.focus()
        for key in ("h", "h", "m", "ArrowLeft", "ArrowRight"):
            page.keyboard.press(key)
        box = one.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 3, box["y"] + min(box["height"], 300) / 3)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + min(box["height"], 300) / 2, steps=3)
        page.mouse.up()


def move_all(visit: Visit, leave: str = "") -> Counter[str]:
    """Every control that is there or comes while others are moved; how many of each kind."""
    if leave:
        visit.page.evaluate("q => document.querySelectorAll(q).forEach(e => e.dataset.moved = 'no')", leave)
    moved: Counter[str] = Counter()
    for _ in range(300):
        one = visit.page.evaluate_handle(FRESH).as_element()
        if one is None:  # or what comes is not there yet
            visit.until("!document.documentElement.hasAttribute('data-asking')")
            visit.painted()
            one = visit.page.evaluate_handle(FRESH).as_element()
        if one is None:
            break
        kind = one.evaluate(KIND)
        try:
            move(visit, one, kind)
        except (AssertionError, Trouble):
            if one.evaluate("e => e.isConnected"):
                raise
            kind = "gone"  # a late answer drew the page anew: what came in its place is moved in its turn
        moved[kind] += 1
        assert visit.page.locator("#notice:not([hidden])").count() == 0, visit.page.text_content("#notice")
    else:
        pytest.fail("controls without end")
    assert moved["gone"] <= 5
    return moved


def looks_like_a_page(visit: Visit) -> None:
    """Not blank, as wide as the screen, and no barrier that axe knows."""
    assert visit.fits()
    drawn = np.asarray(Picture.open(io.BytesIO(visit.page.screenshot())).convert("L")).astype(int)
    assert len(np.unique(drawn)) > 20 and (np.abs(np.diff(drawn, axis=1)) > 40).mean() > 0.002
    assert visit.page.evaluate(UNNAMED) == [] and visit.page.evaluate(PALE) == []
    if AXE.exists():
        visit.page.evaluate(AXE.read_text())
        found = visit.page.evaluate("axe.run()")["violations"]
        assert [(f["id"], f["nodes"][0]["html"]) for f in found] == []
