"""What the report says beside the cases: checks in numbers, limits, cards of methods, hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contrafact.io import Run
from contrafact.views.card_words import GOOD_ENDS
from contrafact.views.reading.power import wilson

Row = Mapping[str, Any]
METHODS = {"about": "what it does", "gives": "gives", "cost": "cost", "source": "source", "differs": "differs"}


def checks_table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Of every check: on how many results it passed, with Wilson's 95 % interval of that share."""
    found: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        kind = "heatmaps" if row.get("kind") == "heatmap" else "counterfactuals"
        for check in row.get("trust") or ():
            found.setdefault((kind, str(check["name"])), []).append(check["passed"])
    table = []
    for (kind, name), passed in found.items():
        right, judged = sum(p is True for p in passed), sum(p is not None for p in passed)
        low, high = wilson(right, judged)
        one = {"of": kind, "name": name, "passed": right, "judged": judged, "open": len(passed) - judged}
        table.append({**one, "low": low, "high": high})
    return table


def limits(manifest: Row, rows: Sequence[Row], failures: Sequence[Row], *, cases: Sequence[Row]) -> list[str]:
    """What a reader of this run must not conclude, counted where it can be."""
    strips = [row for row in rows if row.get("kind") == "strip" and not row.get("picture")]
    maps = [row for row in rows if row.get("kind") == "heatmap"]
    drawn = sum(bool(case["synthetic"]) for case in cases)
    unchecked = sum(not row.get("trust") for row in (*maps, *strips))
    drifted = sum(bool(row["drifted"]) for row in strips)
    ended = sum(row["stopped"] not in GOOD_ENDS for row in strips)
    flat = any(one.get("where") for case in cases for one in (*case["maps"], *case["strips"]))
    said = [
        "A heatmap says what moved this model's answer on this image. It does not say what causes a disease, "
        "nor that the model is right.",
        maps and "Checks that pass do not make an explanation true; they fail to show that it is false.",
        strips
        and "A changed image is drawn by a generator: it shows what moves the model, not how this patient "
        "would look with or without a disease. Figures between two frames are not measured.",
        drawn and f"{drawn} of the {len(cases)} cases shown are synthetic images, not patients.",
        unchecked and f"{unchecked} of {len(maps) + len(strips)} results have no trust card.",
        drifted and f"{drifted} of {len(strips)} counterfactuals drift: drawing alone moves the model.",
        ended and f"{ended} of {len(strips)} counterfactuals ended without the change that was asked for.",
        failures and f"{len(failures)} methods failed on an image and have no result.",
        flat
        and "Of volumes this page holds one slice per result; the viewer (contrafact view) holds them all.",
    ]
    for card in manifest.get("bundles", ()):
        own = card.get("limits") or ()
        own = [own] if isinstance(own, str) else own
        said += [f"Bundle {card.get('name', '')}: {text}" for text in own]
    return [str(text) for text in said if text]


def method_cards(run: Run, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The card of every method that gave results, with how often and at what measured cost."""
    cards, found = run.methods(), dict[str, list[Row]]()
    for row in rows:
        found.setdefault(str(row["record"]["method"]), []).append(row["record"])
    inner = [name for name in cards if name not in found]
    table = []
    for name in (*found, *inner):
        records = found.get(name, [])
        seconds = sorted(float(r["seconds"]) for r in records)
        measured = f"{len(records)} results, median {seconds[len(seconds) // 2]:.2f} s each" if records else ""
        lines = [(words, cards[name][key]) for key, words in METHODS.items() if cards.get(name, {}).get(key)]
        table.append({"name": name, "measured": measured or "inside another method", "lines": lines})
    return table


def bundle_cards(manifest: Row) -> list[dict[str, Any]]:
    """The measured figures of each bundle, as rows (what, figure, interval, wanted)."""
    return [
        {
            "name": card.get("name", "bundle"),
            "about": card.get("about", ""),
            "data": card.get("data", ""),
            "licence": card.get("licence", ""),
            "figures": card.get("figures", []),
        }
        for card in manifest.get("bundles", [])
    ]


def hashes(manifest: Row, rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Versions and hashes, once each: (what, name, hash or version)."""
    found: dict[tuple[str, str, str], None] = {}
    names = {str(card.get("bundle")): str(card.get("name", "")) for card in manifest.get("bundles", ())}
    for row in rows:
        record = row["record"]
        bundle = str(record.get("bundle") or "")
        found[("model", str(row.get("model_name") or ""), str(record["model"]))] = None
        if bundle:
            found[("bundle", names.get(bundle, ""), bundle)] = None
            found[("generator", names.get(bundle, ""), str(record.get("generator") or ""))] = None
    for row in rows:
        for name, version in row["record"]["versions"].items():
            found[("version", str(name), str(version))] = None
    for row in rows:
        found[("image", str(row.get("case") or row["key"]), str(row["record"]["image"]))] = None
    return [line for line in found if line[2]]
