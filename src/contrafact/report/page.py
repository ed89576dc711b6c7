"""The report: one HTML file that opens offline, from any run folder."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from contrafact import render
from contrafact.core import InputError
from contrafact.io import Run, write_atomic
from contrafact.io.attribute_folder import attribute_folders, picture_of
from contrafact.io.stored_rows import row_flaw
from contrafact.render.attributes import attribute_tables
from contrafact.render.run_index import RunIndex
from contrafact.render.text import GOOD_ENDS, REASONS
from contrafact.report.case import ShownCase, shown_case
from contrafact.report.cohort import cohort_sections
from contrafact.report.first_screen import first_screen
from contrafact.report.study import study_section
from contrafact.report.text import bundle_cards, checks_table, hashes, limits, method_cards

IMAGES = 24  # cases on one page
CARRIED = 12_000_000  # characters of arrays on one page; later cases have pictures only
GALLERY, FAILED = 24, 50
RENDER = Path(render.__file__).parent


def write_report(run: Run, path: str | Path | None = None) -> Path:
    """Write `report.html` into the run folder (or to `path`) and return its path.

    The page holds the viewer's controls with their arrays, and still pictures for print and for browsers
    without scripts. It makes no requests: its content security policy forbids them.

    raises  InputError for a run without results
    """
    manifest, cohort = run.manifest(), RunIndex(run)
    manifest["bundles"] = [card for card in manifest.get("bundles") or () if isinstance(card, dict)]
    sort = "order" if manifest.get("demo") else "problems"  # the demo tells its story in its own order
    chosen = [case for case in cohort.chosen(sort=sort) if case.maps or case.strips]
    every = run.rows()
    rows = [row for row in every if not row_flaw(row)]
    if not rows:
        why = f"none of its {len(every)} lines can be read" if every else "the run is empty"
        raise InputError(f"expected results in '{run.folder}'; {why}")
    cases = [shown_case(cohort, case) for case in chosen[:IMAGES]]
    failures = _failures(cohort, cases)
    title = str(manifest.get("title", run.folder.name))
    style, script = _built("pages.css") + _running(title), _built("report.js")
    page = (
        environment()
        .get_template("report.html")
        .render(
            title=title,
            manifest=manifest,
            style=Markup(style),
            script=Markup(script),
            policy=_policy(style, script),
            first=first_screen(cohort, cases),
            cases=_for_the_page(cases),
            gallery=_gallery(cases)[:GALLERY],
            doubts=len(_gallery(cases)),
            failures=failures[:FAILED],
            failed=len(failures),
            cohort=cohort_sections(cohort),
            study=study_section(run),
            left_out=len(chosen) - len(cases),
            there=len(cohort.cases()),
            reasons=REASONS,
            good=GOOD_ENDS,
            limits=limits(manifest, rows, failures, cases=[c.about for c in cases]),
            **_about(run, manifest, rows),
        )
    )
    path = Path(path or run.folder / "report.html")
    write_atomic(path, page.encode())
    return path


def _about(run: Run, manifest: Mapping[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the end of the page says of the whole run."""
    return {
        "checks": checks_table(rows),
        "methods": method_cards(run, rows),
        "bundles": bundle_cards(manifest),
        "attributes": attribute_tables(run.folder),
        "pictures": functools.partial(attribute_picture, attribute_folders(run.folder)),
        "hashes": hashes(manifest, rows),
    }


def environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(RENDER / "templates")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def attribute_picture(folders: Mapping[str, Path], folder: str, name: str) -> str:
    """Return the picture of an attribute as text; empty where it cannot be read."""
    try:
        content = picture_of(folders[folder], name)
    except (InputError, LookupError):
        return ""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _failures(cohort: RunIndex, cases: Sequence[ShownCase]) -> list[dict[str, Any]]:
    """Return what failed or cannot be read in every case of the run, with the name of its image."""
    shown = {case.about["id"]: case.about["failures"] for case in cases}
    return [
        {**failure, "source": case.source or case.name}
        for case in cohort.cases().values()
        for failure in shown.get(case.id, case.failures)
    ]


def _for_the_page(cases: Sequence[ShownCase]) -> list[dict[str, Any]]:
    """Return the cases for the template, with arrays until the size limit of the page."""
    room, found = CARRIED, []
    for case in cases:
        room -= case.size
        moves = {"about": _moving(case.about), "arrays": case.arrays} if room >= 0 else None
        found.append({"about": case.about, "stills": case.stills, "moves": moves})
    return found


def _moving(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of the controls, with the slice in the label of each map."""
    maps = [
        {**one, "label": ", ".join(filter(None, (one["label"], one.get("where"))))} for one in about["maps"]
    ]
    return {"image": about["image"], "maps": maps, "strips": about["strips"], "nearest": about["nearest"]}


def _gallery(cases: Sequence[ShownCase]) -> list[dict[str, Any]]:
    """Return the results with warnings: a picture and the sentences."""
    found = []
    for case in cases:
        for one in (*case.about["maps"], *case.about["strips"]):
            still, strip = case.stills[one["row"]], "requested" in one
            said = list(one["trust"]["failed"])
            if strip and not one["picture"]:
                size = f"{one['reconstruction_error']:.2f} {one['unit']}"
                drift = f"generating this image without a change moves the prediction by {size}"
                said += [drift] if one["above_tolerance"] else []
                said += [] if one["outcome"] in GOOD_ENDS else [one["reason"]]
            if said:
                picture = still["change"] if strip else still["picture"]
                words = {name: one[name] for name in ("label", "target_name", "row")}
                found.append({**words, "case": case.about["name"], "picture": picture, "said": said})
    return found


def _built(name: str) -> str:
    """Return a built file of the front end, checked not to close the element that holds it."""
    text = (RENDER / "web" / "dist" / name).read_text(encoding="utf-8")
    return text.replace("</script", r"<\/script").replace("<!--", r"<\!--").replace("</style", r"<\/style")


def _running(title: str) -> str:
    """Return the title of printed pages as CSS code points, because the title is untrusted text."""
    spelt = "".join(f"\\{ord(letter):06x} " for letter in title[:90])
    return f'@page{{@top-left{{content:"{spelt}"}}}}'


def _policy(style: str, script: str) -> str:
    """Return a content security policy without requests, and without scripts or styles other than ours."""

    def own(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    parts: Mapping[str, str] = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": own(style),
        "script-src": own(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())
