"""Pictures of every page at three widths, for docs/pictures.

    python -m experiments.evaluate.screenshots --run RUN --volume RUN --two RUN --labelled RUN --image KNEE.jpg

Give the runs whose pages are wanted. Pages are whole at 390 and 1280 pixels, and a screen of 1920 by 1080. The
results of a reader study are of simulated readers, for the run with labels. Needs Playwright and Chromium, for
the page of paper pypdfium2 too.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image as Picture
from playwright.sync_api import sync_playwright

import contrafact as cf
from contrafact.io import Run, open_run
from contrafact.report.notebook import over
from contrafact.report.page import write_report
from contrafact.viewer.app import make_app
from contrafact.viewer.live import make_live
from contrafact.viewer.reader_study.app import Reading, make_reading_app
from contrafact.viewer.reader_study.sessions import Design
from contrafact.viewer.study_editor.app import make_form_app
from contrafact.viewer.study_editor.editor import StudyEditor
from experiments.evaluate.simulated_readers import answered, reading_of
from experiments.serving import serving

WIDTHS = {390: 844, 1280: 900, 1920: 1080}
GPU = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox")
TALL = 5200  # pixels of a picture at most
STUDY = """title = "Which method points where"
out = "runs/study"
targets = ["class:1"]

[model]
bundle = "knee"

[methods.gradcam]
[methods.rise]
masks = 500
share = 2.0

[metrics.deletion]
"""  # with a share that is refused, and without images
Page = Any
Enter = Callable[[Page], None]


class Camera:
    """Takes a page at every width, after what `ready` does on it."""

    def __init__(self, browser: Any, out: Path, only: list[str]) -> None:
        self.browser, self.out, self.only = browser, out, only

    def wants(self, name: str) -> bool:
        return not self.only or name in self.only

    def take(self, name: str, enter: Enter, ready: Enter = lambda _: None) -> None:
        if not self.wants(name):
            return
        for width, height in WIDTHS.items():
            context = self.browser.new_context(viewport={"width": width, "height": height})
            page = context.new_page()
            page.set_default_timeout(180_000)
            enter(page)
            ready(page)
            _loaded(page)
            page.evaluate("document.activeElement?.blur(); scrollTo(0, 0)")
            whole = page.screenshot(full_page=width < 1900)
            picture = Picture.open(io.BytesIO(whole)).convert("RGB")
            picture = picture.crop((0, 0, picture.width, min(picture.height, TALL)))
            picture.save(self.out / f"{name}-{width}.webp", quality=72, method=6)
            context.close()


def _loaded(page: Page) -> None:
    """Wait until every picture is there, also those far down, which a page loads as one scrolls."""
    page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager'; })")
    page.wait_for_load_state("networkidle")
    for picture in page.query_selector_all("img"):
        picture.evaluate("image => image.decode().catch(() => null)")
    while page.evaluate("document.documentElement.hasAttribute('data-painting')"):
        page.wait_for_timeout(50)


def at(link: str, path: str = "/", token: str = "") -> Enter:
    """Return what goes to a page, with the token of its link first."""

    def enter(page: Page) -> None:
        page.goto(f"{link}/?token={token}")
        if path != "/":
            page.goto(link + path)

    return enter


@contextlib.contextmanager
def viewing(run: Run, *, live: bool = False) -> Iterator[tuple[str, str]]:
    """The viewer of a run: its link and token."""
    made = make_live(run) if live else None
    app = make_app(run, made[0] if made else None)
    [token] = app.tokens
    try:
        with serving(app) as link:
            yield link, token
    finally:
        if made:
            made[1].close()


def viewer(camera: Camera, run: Run) -> None:
    """Take the pages of a run without labels: cohort, case, live explanation, and a box on a case."""
    with viewing(run) as (link, token):
        camera.take("cohort", at(link, token=token), lambda page: page.wait_for_selector("#lines tr"))
        case = lambda page: page.wait_for_selector(".film")  # noqa: E731
        camera.take("case", _first(link, token, "/", "#lines tr"), case)
    if camera.wants("live") or camera.wants("box"):
        with viewing(run, live=True) as (link, token):
            camera.take("live", _first(link, token, "/", "#lines tr"), _explain)
            camera.take("box", _first(link, token, "/", "#lines tr"), _box)


def compared(camera: Camera, run: Run) -> None:
    """Take the pages that compare two models."""
    with viewing(run) as (link, token):
        camera.take("compare", at(link, "/compare", token), lambda page: page.wait_for_selector("#lines tr"))
        camera.take("pair", _first(link, token, "/compare", "#lines tr"), _twins)


def volume(camera: Camera, run: Run) -> None:
    """Take the page of a volume, and its part in three dimensions alone."""
    with viewing(run) as (link, token):
        camera.take("volume", _first(link, token, "/", "#lines tr"), _solid)
        camera.take("planes", _first(link, token, "/", "#lines tr"), _planes)


def labelled(camera: Camera, run: Run) -> None:
    """Take the cohort page of a run with labels, with its mean changes."""
    with viewing(run) as (link, token):
        camera.take("cohort-labelled", at(link, token=token), _means)


def decisions(camera: Camera, run: Run, folder: Path) -> None:
    """Take a decision with an explanation, and the results of simulated readers."""
    if camera.wants("reader-results"):
        study = reading_of(run, folder / "simulated.sqlite")
        answered(study)
        with serving(make_reading_app(study, reader="r", owner="o")) as link:
            camera.take("reader-results", at(link, "/results", "o"))
    if camera.wants("reader-decides"):
        design = Design(arms=("explained",), kind="parallel", washout=0.0)
        one = Reading(run, tasks=("decide",), path=folder / "decides.sqlite", design=design)
        with serving(make_reading_app(one, reader="r", owner="o")) as link:
            camera.take("reader-decides", at(link, token="r"), _judge)


def paper(camera: Camera, report: Path) -> None:
    """Take the second case of the report as a page of paper."""
    if not camera.wants("report-print"):
        return
    from pypdfium2 import PdfDocument  # not needed for any other picture

    page = camera.browser.new_page()
    page.set_default_timeout(180_000)
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('header, main > *:not(.case)').forEach(part => part.remove())")
    printed = report.with_suffix(".pdf")
    page.pdf(path=printed, prefer_css_page_size=True)
    page.close()
    drawn = PdfDocument(printed)[1].render(scale=115 / 72).to_pil().convert("RGB")
    drawn.save(camera.out / "report-print.webp", quality=80, method=6)


def notebook(camera: Camera, path: Path) -> None:
    """Take a heatmap and a counterfactual of a knee as a notebook shows them."""
    if not camera.wants("notebook"):
        return
    bundle, image = cf.load_bundle("knee"), cf.read_image(path)
    ask = {"target": "class:1", "bundle": bundle}
    heat, strip = (cf.explain(name, bundle.predictor, image, **ask) for name in ("gradcam", "counterfactual"))
    shown = {
        "over(image, heat)": over(image, heat)._repr_html_(),
        'cf.explain("counterfactual", bundle.predictor, image, target="class:1", bundle=bundle)': (
            strip._repr_html_()
        ),
    }
    style = "background:#f7f7f7;border:1px solid #ddd;padding:8px;margin:12px 0 6px"
    cells = [f"<pre style='{style}'>{html.escape(code)}</pre>{made}" for code, made in shown.items()]
    page = camera.browser.new_page(viewport={"width": 1280, "height": WIDTHS[1280]})
    page.set_content("<body style='margin:8px 20px'>" + "".join(cells))
    taken = Picture.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    taken.save(camera.out / "notebook.webp", quality=80, method=6)
    page.close()


def _means(page: Page) -> None:
    page.wait_for_selector("#means summary")
    page.click("#means summary")
    page.wait_for_selector("#means figure img")


def _first(link: str, token: str, path: str, row: str) -> Enter:
    def enter(page: Page) -> None:
        at(link, path, token)(page)
        page.wait_for_selector(row)
        page.click(f"{row} a")

    return enter


def _twins(page: Page) -> None:
    page.wait_for_selector(".stages")


def _solid(page: Page) -> None:
    page.locator(".solid").scroll_into_view_if_needed()
    page.wait_for_selector(".solid[data-ready]", timeout=120_000)


def _planes(page: Page) -> None:
    _solid(page)
    others = "#parts > section:not(:has(.solid))"
    page.evaluate(f"document.querySelectorAll('{others}').forEach(part => part.remove())")


def _explain(page: Page) -> None:
    page.wait_for_selector("#live-target", timeout=180_000)
    page.evaluate("document.querySelectorAll('#parts > section:not(.live)').forEach(part => part.remove())")
    page.get_by_role("radio", name="probability to reach").check()
    slider = page.locator(".live label.slider input").first
    tenth = "e.value = Number(e.min) + 0.1 * (e.max - e.min)"
    slider.evaluate(f"e => {{ {tenth}; e.dispatchEvent(new Event('input', {{ bubbles: true }})); }}")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.wait_for_selector(".live .film", timeout=180_000)


def _box(page: Page) -> None:
    """Draw a box around the middle of the original, and ask for a change inside it alone."""
    page.wait_for_selector("#live-target", timeout=180_000)
    panel = page.locator("[data-panel=original]").first
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 0.15 * box["width"], box["y"] + 0.45 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.85 * box["width"], box["y"] + 0.75 * box["height"], steps=5)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.get_by_role("button", name="Change only here", exact=True).first.click()
    page.wait_for_selector(".live .film", timeout=180_000)
    page.evaluate("document.querySelectorAll('#parts > section:not(.live)').forEach(part => part.remove())")


def others(camera: Camera, run: Run, folder: Path) -> None:
    """Take the study editor, the reader study and the report."""
    (folder / "study.toml").write_text(STUDY)
    editor = StudyEditor(folder, "study.toml", lambda _: iter(()), more={"targets": [], "bundles": ["knee"]})
    with serving(make_form_app(editor, token="t")) as link:
        camera.take("editor", at(link, token="t"), lambda page: page.wait_for_selector("#wrong li, .wrong li"))
    reading = Reading(run, tasks=("worse",), path=folder / "reading.sqlite")
    with serving(make_reading_app(reading, reader="r", owner="o")) as link:
        camera.take("reader", at(link, token="r"), _judge)
    report = write_report(run, folder / "report.html")
    camera.take("report", lambda page: page.goto(report.as_uri()))
    camera.take("report-case", lambda page: page.goto(report.as_uri()), _open)
    paper(camera, report)


def _judge(page: Page) -> None:
    page.fill("#name", "Ada")
    page.click("#name-form button")
    page.wait_for_selector("#pictures img")


def _open(page: Page) -> None:
    others = "main > *:not(.case), .case ~ .case"
    page.evaluate(f"document.querySelectorAll('{others}').forEach(part => part.remove())")
    page.locator(".all > summary").first.click()
    page.wait_for_selector(".alive .moving .film")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="such as the demo's")
    parser.add_argument("--volume", type=Path, help="a run of a volume")
    parser.add_argument("--two", type=Path, help="a run of two models on the same images")
    parser.add_argument("--labelled", type=Path, help="a run with labels and counterfactuals")
    parser.add_argument("--image", type=Path, help="a knee radiograph, for the picture of a notebook")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--only", nargs="*", default=[], help="names of pictures; none: all")
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=browser, args=list(GPU))
        camera = Camera(chromium, words.out, words.only)
        for given, take in ((words.run, viewer), (words.two, compared), (words.volume, volume)):
            if given:
                take(camera, open_run(given))
        if words.labelled:
            labelled(camera, open_run(words.labelled))
            decisions(camera, open_run(words.labelled), Path(folder))
        if words.image:
            notebook(camera, words.image)
        if words.run:
            others(camera, open_run(words.run), Path(folder))
        chromium.close()


if __name__ == "__main__":
    main()
