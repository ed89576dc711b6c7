"""What the viewer, the reader study, the report, a notebook and live questions say, and the functions of `api`:
two models of one run, volumes with unequal voxels, strips that fall, models with three classes."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import html
import json
import math
import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import numpy as np

import contrafact as cf
from bright_half import bright_bundle, grey
from browsing import DOUBT, PASSED, Answer, entered, heatmap, planted_run, ramp, strip
from contrafact.api import explanation
from contrafact.api.case import Plan, display_facts, explain_case
from contrafact.api.compatibility import findings_of, noise_for
from contrafact.api.evaluation import explainer_of
from contrafact.core import ContrafactError, Grid, Heatmap, Image, Record
from contrafact.core.execution import parameters_of
from contrafact.io import Run
from contrafact.models import TorchPredictor
from contrafact.report import notebook
from contrafact.report.page import write_report
from contrafact.report.study import study_section
from contrafact.viewer import compare, make_app
from contrafact.viewer.live.answers import Asking
from contrafact.viewer.live.tasks import Task
from contrafact.viewer.reader_study.app import Reading
from contrafact.viewer.reader_study.results import as_csv, plan_words, table
from contrafact.viewer.reader_study.trials import items_of, of_a_patient, picture, question_of, trials_for
from contrafact.viewer.volumes import lighter
from four_pixels import image, two_scores
from reference.heatmaps import images, network
from reference.kept import brief
from reference.renders import OBLIQUE
from two_findings import four, two_findings

HIDDEN = re.compile(r"<(script|style)\b.*?</\1>|<[^>]+>|data:[^\"']+", re.DOTALL)


def said(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except ContrafactError as error:
        return f"{type(error).__name__}: {error}"[:200]


def words(page: str) -> str:
    """The text of a page, without its data, digests and times."""
    text = " ".join(html.unescape(HIDDEN.sub(" ", page)).split())
    return re.sub(r"\b[0-9a-f]{16}\b|\d+\.\d+ s\b|\d{4}-\d\d-\d\d\S*", "…", text)


class Direct:
    """Asks an application without a server between: nothing is waited for."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def ask(self, path: str) -> Answer:
        sent: list[dict[str, Any]] = []
        path, _, query = path.partition("?")
        here = ("127.0.0.1", 80)
        scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "root_path": "",
                 "scheme": "http", "http_version": "1.1", "server": here, "client": here,
                 "headers": [(b"host", b"127.0.0.1")], "raw_path": path.encode()}  # fmt: skip

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], headers, b"".join(part.get("body", b"") for part in sent[1:]))


def full_run(folder: Path) -> Run:
    """The run of `browsing`, the same images by a second model, a volume, and a strip of unequal pixels."""
    run = planted_run(folder)
    for n in (1, 2, 3):
        name, shown = f"Case {n}", Image(ramp(level=n), window=(0.0, 200.0), source=f"/data/knee{n}.png")
        about = {
            "case": name,
            "answers": [f"narrow {90 - 25 * n} %"],
            "target_name": "narrow",
            "model_name": "second",
        }
        turned = dataclasses.replace(
            heatmap(name, n),
            values=heatmap(name, 2.0).values.T[::-1] * (1.5 - n),
            record=dataclasses.replace(heatmap(name).record, model="other"),
        )
        run.add(f"second/{name}/gradcam", shown, turned, trust=[DOUBT] if n == 1 else [PASSED], **about)
    rng, grid = np.random.default_rng(3), Grid((4, 5, 6), affine=OBLIQUE)
    deep = Image(rng.uniform(0, 9, (1, 4, 5, 6)), grid, (1, 8), source="/data/deep.nii.gz")
    record = Record(method="rise", parameters={}, target="region:2", model="m", image="deep")
    values = rng.normal(size=(4, 5, 6)).astype(np.float32)
    run.add("deep/rise", deep, Heatmap(values=values, grid=grid, record=record), case="Deep", trust=[PASSED])
    frames = deep.values + np.linspace(0, 3, 4).reshape(4, 1, 1, 1, 1)
    falls: Any = {"scores": np.array([2.0, 1.0, -0.5, -1.0]), "requested": -np.arange(4.0), "goal": -1.0}
    moved = strip("deep", frames=frames, reconstruction=frames[0], grid=grid, latent_distance=np.arange(4.0),
                  **falls)  # fmt: skip
    run.add("deep/walk", deep, moved, case="Deep", target_name="lesion", trust=[PASSED, DOUBT])
    return run


def viewer() -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        run = full_run(Path(folder) / "run")
        report = words(write_report(run).read_text())
        found["report"] = [report[n : n + 400] for n in range(0, len(report), 400)]
        site = Direct(entered(make_app(run)))
        with patch.object(compare, "SECONDS", math.inf):
            lines = site.ask("/api/cases?sort=name&count=3").json()
            found["cases"] = lines
            for query in (
                "q=deep",
                "show=doubts&from=1",
                "show=failures&sort=order",
                "show=clean",
                "sort=answer",
            ):
                found[query] = [case["name"] for case in site.ask(f"/api/cases?{query}").json()["cases"]]
            for query in (
                "",
                "?sort=maps",
                "?sort=name&from=1&count=1",
                "?q=2",
                "?a=second&b=",
                "?method=none",
            ):
                answer = site.ask(f"/api/compare{query}")
                found[f"compare{query}"] = answer.json() if answer.status == 200 else answer.text
            pairs = [line["id"] for line in site.ask("/api/compare").json()["lines"]]
            found["pair"] = trimmed(site.ask(f"/api/compare/{quote(pairs[1])}?sort=name").json())
            for case in site.ask("/api/cases").json()["cases"]:
                about = site.ask(f"/api/case/{case['id']}?show=doubts").json()
                found[f"neighbours {case['name']}"] = [about[k] is None for k in ("previous", "next")] + [
                    about["number"],
                    about["of"],
                ]
            rows = len(run.rows())
            for path in (
                f"array/{rows - 2}/values?slice=2", f"array/{rows - 1}/frames?slice=1", "array/0/image",
                "array/0/none",
                f"array/{rows - 1}/frames?slice=x", f"thumbnail/{rows - 1}.png", "thumbnail/99.png",
            ):  # fmt: skip
                answer = site.ask(f"/{path}")
                found[path] = [answer.status, answer.headers.get("x-shape"), len(answer.body)]
            for path in (
                "change.nii.gz?frame=3",
                "frames.nii.gz?frame=9",
                "image.nii.gz?channel=1",
                "values.nii.gz",
            ):
                answer = site.ask(f"/volume/{rows - 1}/{path}")
                body = gzip.decompress(answer.body) if answer.status == 200 else b""
                found[path] = brief(np.frombuffer(body[352:], "<f4")) if body else [answer.status, answer.text]
    smaller, grid = lighter(np.arange(8 * 3 * 7.0).reshape(8, 3, 7), Grid((8, 3, 7), affine=OBLIQUE), 3)
    return found | {"lighter": [brief(smaller), grid.affine.round(4)]}


def trimmed(part: Any) -> Any:
    """Data of a page without what is long."""
    if isinstance(part, dict):
        return {k: trimmed(v) for k, v in part.items() if k not in ("id", "record", "data")}
    return [trimmed(one) for one in part[:3]] if isinstance(part, list) else part


def readers() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = planted_run(Path(folder) / "run", cases=5)
        run.add("phantom/walk", Image(ramp(), source="synthetic"), strip("phantom"), case="Phantom")
        back = strip("back", requested=-np.arange(5.0), scores=1.0 - np.arange(5.0))
        run.add("back/walk", Image(ramp(level=8.0), source="b.png"), back, case="Back")
        unequal = strip("flat", scores=np.zeros(5))
        run.add("flat/walk", Image(ramp(level=9.0), source="f.png"), unequal, case="Flat")
        reading = Reading(run, judgements=4, seed=3)
        found: dict[str, Any] = {
            "items": {
                task: [dataclasses.astuple(one) for one in items_of(run, task)] for task in ("real", "worse")
            },
            "trials": [
                [
                    (t.task, t.case, t.shows, t.truth)
                    for t in trials_for(items_of(run, "worse"), reader, seed=3, judgements=n)
                ]
                for reader, n in ((0, None), (1, None), (1, 3))
            ],
            "plan": plan_words(reading.counts(), reading.left_out()),
            "pictures": [len(picture(run, run.rows()[1], frame)) > 0 for frame in (-1, 2)],
            "patients": [of_a_patient(row) for row in run.rows()],
        }
        answers = reading.answers()
        for reader in ("Ada", " B  b "):
            name = " ".join(reader.split())
            done, there = answers.enter(reader, reading.items(), seed=3, judgements=4)
            for at in range(done, there - 1):
                trial = answers.trial(name, at)
                choice = ("real", "synthetic") if trial.task == "real" else ("left", "right")
                answers.add(name, at, choice[at % 2], 1.0 + at if at else None)
        for name, at, answer in (
            ("Ada", 0, "left"),
            ("Ada", 9, "left"),
            ("Nobody", 0, "left"),
            ("Ada", 7, "up"),
        ):
            found[f"{name} {at} {answer}"] = said(lambda n=name, a=at, w=answer: answers.add(n, a, w, 1.0))
        found["table"] = table(answers.lines())
        found["csv"] = [line.rsplit(",", 1)[0] for line in as_csv(answers.lines()).splitlines()]
    row = {
        "record": {"target": "class:1"},
        "target_name": "effusion",
        "exclusive_classes": ["none", "effusion"],
    }
    targets = ("class:1", "class:0", "grade", "value:0", "margin:1,0")
    found["questions"] = [question_of({**row, "record": {"target": t}}) for t in targets]
    return found


def notebooks() -> dict[str, Any]:
    deep, flat = images(3)[0], Image(ramp(), Grid((16, 16), spacing_mm=(0.5, 1.25)), source="/a/b.png")
    values = np.random.default_rng(0).normal(size=deep.grid.shape)
    record = Record(method="rise", parameters={"masks": 3}, target="class:1", model="m", image="i",
                    details={"layer": "body", "cells": [4, 4]}, notes={"gap": 0.5})  # fmt: skip
    heat = Heatmap(values=values, grid=deep.grid, record=record)
    pages = {
        "image": notebook.image(flat),
        "volume": notebook.image(deep),
        "map": notebook.heatmap(heat),
        "over": notebook.over(deep, heat)._repr_html_(),
        "record": notebook.record(record),
        "card": notebook.card([PASSED, DOUBT]),
        "strip": notebook.strip(strip("x", second=np.array([-1.0, 0, 1, 2, 3]))),
        "missed": notebook.strip(strip("x", outcome="budget", above_tolerance=True, goal=9.0)),
    }
    return {name: [words(page), page.count("<img")] for name, page in pages.items()}


def tables() -> dict[str, Any]:
    """The section of a study in its report, whole and damaged."""
    kept = json.loads((Path(__file__).parent / "studies.json").read_text())
    found: dict[str, Any] = {"better": {"iou": "higher", "deletion": "lower"}, "words": {"iou": "w"}}
    for name in ("summary", "ranks", "families", "disagreement", "methods", "models"):
        found[name] = kept[name][:7]
    found |= {
        "performance": [{"model": "m", "class": 1, "auc": 0.7}],
        "subgroups": [],
        "by_construction": ["x"],
    }
    found["summary"][1] = {
        **found["summary"][1],
        "mean": None,
        "low": 1.0,
        "high": None,
        "failed": 2,
        "noted": 3,
    }
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", about={})
        shown = [study_section(run)]
        for text in (json.dumps(found), "{", json.dumps({**found, "ranks": 3, "better": []})):
            (run.folder / "summary.json").write_text(text)
            shown.append(json.loads(json.dumps(study_section(run), default=dataclasses.asdict)))
    return {"sections": shown}


def live() -> dict[str, Any]:
    """Every kind of question to a live worker, on toys whose answers are closed forms."""
    told: list[Any] = []
    found: dict[str, Any] = {}
    both, model = two_scores()
    cases: list[tuple[str, Any, Any, Image, dict[str, Any]]] = [
        (
            "latent",
            both,
            model,
            image((-1.0, 0.5, 0, 0)),
            {"method": "latent-walk", "hold": ("other/class:1",)},
        ),
        (
            "medxgan",
            two_findings(),
            None,
            four(-0.5, -1.0, 0.2, 0.0),
            {"method": "medxgan", "target": "class:0"},
        ),
        ("translate", bright_bundle(), None, grey(100), {"method": "translate"}),
        ("map", both, model, image((-1.0, 0.5, 0, 0)), {"method": "occlusion"}),
    ]
    for name, bundle, own, shown, more in cases:
        asking, used = Asking([bundle]), own or bundle.predictor

        def ask(kind: str, asking: Any = asking, used: Any = used, shown: Any = shown, **about: Any) -> Any:
            task = Task(kind=kind, case="a", image=shown, model=used.digest, **{"target": "class:1", **about})
            return asking(task, lambda *what: told.append(what))[0]

        found[f"{name} about"] = trimmed(ask("about"))
        for by, amount in (("asked", -1.5), ("reached", 0.8)):
            answer = said(
                lambda ask=ask, more=more, by=by, amount=amount: ask("explain", by=by, amount=amount, **more)
            )
            found[f"{name} {by}"] = answer if isinstance(answer, str) else [
                brief(np.asarray(answer.result)), answer.held, sorted(answer.extra), answer.extra["answers"]
            ]  # fmt: skip
        if name == "latent":
            for kind, amount in (("move", -1.0), ("reach", 1.5), ("find", 0.0)):
                moved = ask(kind, amount=amount, hold=("other/class:1",))
                found[f"{name} {kind}"] = {
                    k: round(v, 1) if isinstance(v, float) and kind == "reach" else v  # where a search ended
                    for k, v in moved.items()
                    if isinstance(v, (bool, float, str)) or (isinstance(v, list) and kind != "reach")
                }
    return found


def api() -> dict[str, Any]:
    """Targets from all that a user may write, records made into methods, cases with words and checks."""
    logits = TorchPredictor(network(2), classes=["one", "class:2", "three"])
    parts = TorchPredictor(network(2, segments=True), classes="abc")
    kinds = {
        kind: TorchPredictor(network(2), classes="abc", output=kind)
        for kind in ("sigmoid", "regression", "ordinal")
    }
    shown = images(2)[1]
    asked = (None, 2, "one", "class:2", "2", np.array(1), True, 1.5, "margin:1,0", 9)
    found: dict[str, Any] = {}
    for name, model in {"logits": logits, "parts": parts, **kinds}.items():
        found[name] = [said(lambda m=model, t=t: str(explanation.parse(m, t, shown))) for t in asked]
        found[f"{name} other"] = said(lambda m=model: str(explanation.other_class(m, shown)))
        found[f"{name} facts"] = [display_facts(model), said(lambda m=model: findings_of(m, shown))]
        found[f"{name} noise"] = brief(noise_for(model).values) if name != "parts" else []
    mask = np.zeros((1, 12, 10), np.float32)
    mask[0, 2:5, 3:8], mask[0, 7:9] = 1, 2
    for text, values in (
        ("missed:1", mask),
        ("mask:2", mask),
        ("mask:2", mask > 0),
        ("class:1", mask),
        ("mask:1", 0 * mask),
    ):
        target = said(lambda t=text: parts.target(t))
        given = Image(values.astype(np.float32))
        made = said(lambda t=target, g=given: explanation.compared(t, g, [shown], parts).reference)
        found[f"compared {text} {values.sum()}"] = made if isinstance(made, str) else int(made.sum())
    for name in ("smooth", "occlusion", "latent-walk"):
        kept = json.loads(json.dumps(parameters_of(explainer_of({"name": name}))))
        found[f"explainer {name}"] = parameters_of(explainer_of(kept))
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", about={})
        labels = Image(mask, label_map=True)
        settings = {"occlusion": {"box": 4, "stride": 3}}
        plan = Plan(predictor=logits, methods=("gradient", "occlusion"), settings=settings,
                    labels=labels, names={1: "bone", 2: "joint"}, trust=True, seed=3)  # fmt: skip
        explain_case(run, "a", shown, plan)
        explain_case(run, "a", shown, plan)  # nothing is computed again
        rows = run.rows()
    keep = ("case", "answers", "target_name", "words", "evidence", "trust", "kind", "about")
    found["case"] = [{k: row[k] for k in keep if k in row} for row in rows]
    heats = [cf.explain(m, logits, [shown, images(2)[0]], target=[2, "one"], **s) for m, s in (
        ("gradient", {}), ("occlusion", {"box": 4, "stride": 4}),
    )]  # fmt: skip
    found["heats"] = [[brief(one.values), one.record.target] for some in heats for one in some]
    own = [some[0] for some in heats]
    found["scores"] = [
        [s.label, s.metric, s.value, s.reason]
        for s in cf.evaluate([*own, own[0]], logits, shown, ["iou", "sparseness", "deletion"], mask=mask[0] > 1,
                             references=True, region=mask[0] < 2)
    ]  # fmt: skip
    return found


def values() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {part.__name__: part() for part in (viewer, readers, notebooks, tables, live, api)}
