"""A page in a real browser: a visit that notes all that went wrong, and what every page must pass."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from playwright.sync_api import sync_playwright

from browsing import Site
from contrafact import render

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
        self.page.wait_for_timeout(150)
        which = f"[data-panel={stage}]" if isinstance(stage, str) else ".stage canvas"
        content = self.page.evaluate(
            "([q, k]) => document.querySelectorAll(q)[k].toDataURL('image/png').split(',')[1]",
            [which, 0 if isinstance(stage, str) else stage],
        )
        return np.asarray(Picture.open(io.BytesIO(base64.b64decode(content))).convert("RGB")).astype(int)

    def until(self, words: str) -> None:
        """Until an expression is true; the policy of the pages lets Playwright's own way not run."""
        ends = time.monotonic() + 20
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
    visit.page.wait_for_timeout(200)


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
