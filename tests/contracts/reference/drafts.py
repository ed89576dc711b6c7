"""Studies around their computation: drafts of a form, paths before a run, keys of tasks, lines and tables."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from contrafact.core import ContrafactError, Trust
from contrafact.core.field_docs import hint_of, kind_of, text_of, value_of
from contrafact.io import Case, Run
from contrafact.jobs.tasks import Failure
from contrafact.metrics import Score
from contrafact.study import ModelChoice, StudyConfig, convert_torchesegeta
from contrafact.study.draft import draft_of, empty_draft, problems_of, table_of
from contrafact.study.inputs import (
    cases_of,
    devices_of,
    file_of_image,
    images_of,
    label_maps,
    mask_of,
    mask_path,
    stem_of,
    without_mask,
)
from contrafact.study.preflight import survey
from contrafact.study.runner import tasks_of
from contrafact.study.scoring import ScoringTask, performance, record_of, rows_of, write_tables
from forming import study_folder

TABLE: dict[str, Any] = {
    "out": "run",
    "images": ["*.npy", "b.npy"],
    "targets": ["class:yes", "margin:0,1"],
    "limit_seconds": 2.5,
    "title": "5",
    "workers_per_device": 2,
    "model": {"path": "net.json", "patch": [8, 8], "overlap": 0.25},
    "methods": {
        "rise": {"masks": 100, "fill": "0.5"},
        "two words": {"method": "latent-walk", "levels": [0.1, 0.9], "refinement": {"steps": 3, "prior": 0.1}},
        "smooth": {"inner": {"name": "occlusion", "box": 8}},
    },
    "metrics": {"deletion": {"fill": 0.0}, "often": {"metric": "insertion", "steps": 3}},
    "second_model": {"bundle": "knee", "path": "grade"},
}
WRONG: dict[str, dict[str, Any]] = {
    "study": {"workers_per_device": "0", "limit_seconds": "-1", "nobody": "x", "split": "val", "seed": "1.5"},
    "models": {"overlap": "much", "patch": "8, 8", "nobody": "1"},
    "methods": {"masks": "none", "share": "2", "nobody": "1"},
    "metrics": {"steps": "-4", "nobody": "1"},
}
BROKEN: list[Any] = [
    {"study": {"out": 3}}, {"study": []}, {"models": {}}, {"models": [3]}, {"models": [{"label": 3}]},
    {"methods": [{"label": "rise", "kind": "", "fields": {"masks": 4}}]},
    {"methods": [{"label": "rise"}, {"label": "rise"}]}, {"metrics": [{"label": "x", "kind": "y"}]},
    {"methods": [{"label": "", "kind": ""}]},
    {"methods": [{"label": "rise", "fields": {"a.b": "1", "masks": " "}}]},
    {"second_model": [{"fields": {"path": "p"}}] * 2},
]  # fmt: skip


def said(make: Any) -> Any:
    """What a call gives, or its line of error."""
    try:
        return make()
    except ContrafactError as error:
        return f"{type(error).__name__}: {error}"


def drafts() -> dict[str, Any]:
    made = draft_of(TABLE)
    found: dict[str, Any] = {"empty": empty_draft(), "draft": made, "table": table_of(made)}
    found["right"] = [dataclasses.asdict(one) for one in problems_of(made)]
    for part, fields in WRONG.items():
        for key, text in fields.items():
            wrong = json.loads(json.dumps(made))
            (wrong["study"] if part == "study" else wrong[part][0]["fields"])[key] = text
            found[f"{part} {key}"] = [dataclasses.asdict(one) for one in problems_of(wrong)]
    found["broken"] = [said(lambda one=one: table_of({**made, **one})) for one in BROKEN]
    found["broken problems"] = [
        [[p.place, p.text[:50]] for p in problems_of({**made, **one})] for one in BROKEN
    ]
    for table in (
        {"model": 3},
        {"methods": []},
        {"methods": {"rise": 3}},
        {"nobody": 3},
        {"metrics": {"x": {}}},
    ):
        found[f"of {table}"] = said(lambda table=table: draft_of(table))
    texts = (
        "",
        "3",
        "0.5",
        "a, b",
        "[1, 2]",
        "1, 2",
        '"5"',
        "x\ny",
        "true",
        "{ a = 1 }",
        "1979-05-27",
        "0.5,mean",
    )
    fields = ("images", "title", "seed", "limit_seconds", "references", "model", "methods")
    found["values"] = {
        f: [said(lambda t=t, f=f: value_of(hint_of(StudyConfig, f), t)) for t in texts] for f in fields
    }
    found["kinds"] = {f: kind_of(hint_of(StudyConfig, f)) for f in fields}
    some = (None, "a", "3", True, 2.5, ["a", "b"], ["3"], [], {"a": 1}, "")
    found["texts"] = {
        f: [text_of(hint_of(StudyConfig, f), v) for v in some] for f in ("images", "title", "model")
    }
    return found


@contextmanager
def folder_of_a_study() -> Iterator[Path]:
    """The folder of `forming`, with masks, a background, and links and rows that lead out."""
    with tempfile.TemporaryDirectory() as name:
        folder = study_folder(Path(name) / "work")
        away = Path(name) / "away.npy"
        away.write_bytes((folder / "a.npy").read_bytes())
        (folder / "out.npy").symlink_to(away)
        (folder / "deep").mkdir()
        (folder / "deep" / "z.npy").symlink_to(away)
        for stem, values in (("a", [0, 1]), ("b", [0, 2])):
            np.save(folder / f"mask_{stem}.npy", np.resize(np.float32(values), (1, 16, 16)))
        lines = [
            "path,patient,label,split,sex,mask",
            "a.npy,1,yes,val,f,mask_a.npy",
            "b.npy,1,no,val,m,lost.npy",
        ]
        (folder / "masks.csv").write_text("\n".join([*lines, "c.npy,3,no,train,m,"]) + "\n")
        (folder / "leads.csv").write_text("path,mask\na.npy,../away.npy\n")
        about = json.loads((folder / "net.json").read_text())
        (folder / "leads.json").write_text(json.dumps({**about, "weights": "../w.safetensors"}))
        (folder / "list.json").write_text("[]")
        yield folder


def surveys() -> dict[str, Any]:
    plain = {"out": "run", "images": ["a.npy", "b.npy"], "model": {"path": "net.json"}}
    asked: dict[str, dict[str, Any]] = {
        "plain": plain,
        "more": {**plain, "masks": "mask_{stem}.npy", "background": "mask_a.npy", "region": "no_{stem}.npy"},
        "cohort": {"cohort": "cohort.csv", "split": "val", "subgroups": ["sex", "label", "age"]},
        "no split": {"cohort": "cohort.csv", "split": "vol"},
        "missing": {**plain, "images": ["q*.npy"], "background": "lost", "model": {"path": "lost.json"}},
        "bundle": {
            **plain,
            "model": {"bundle": "phantom", "path": "nobody"},
            "second_model": {"bundle": "phantom"},
        },
        "both": {**plain, "cohort": "cohort.csv"},
        "out": {**plain, "out": "../run"},
        "link": {**plain, "images": ["out.npy", "a.npy"]},
        "row": {"cohort": "leads.csv"},
        "background": {**plain, "background": "deep"},
        "weights": {**plain, "models": {"a": {"path": "leads.json"}}},
        "list": {**plain, "second_model": {"path": "list.json"}},
    }
    found: dict[str, Any] = {}
    with folder_of_a_study() as folder:
        for name, table in asked.items():
            text = json.dumps(dataclasses.asdict(survey(table, folder, folder)), sort_keys=True)
            found[name] = json.loads(text.replace(str(folder.resolve()), "HERE").replace(str(folder), "HERE"))
    return found


def inputs() -> dict[str, Any]:
    """Cases, masks and keys of tasks, which follow what is asked and not the order of asking."""
    base: dict[str, Any] = {"out": "run", "methods": {"gradient": {}}, "model": ModelChoice(path="net.json")}
    found: dict[str, Any] = {}
    with folder_of_a_study() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both = StudyConfig(images=("b.npy", "?.npy", "deep"), **base)
        found["images"] = [path.name for path in images_of(both, folder)]
        for more in (
            {},
            {"split": "val"},
            {"split": "x"},
            {"subgroups": ("sex", "label")},
            {"subgroups": ("sez",)},
        ):
            config = StudyConfig(cohort="masks.csv", **base, **more)
            found[f"cases {more}"] = said(
                lambda config=config: [
                    [c.path.name, c.patient, c.label, dict(c.extra)] for c in cases_of(config, folder)
                ]
            )
        config = StudyConfig(cohort="masks.csv", metrics={"iou": {}}, reference="mask_{stem}.npy", **base)
        cases = cases_of(config, folder)
        found["without"] = [without_mask(config, folder, cases), sorted(label_maps(config, folder, cases))]
        found["label maps"] = sorted(
            label_maps(StudyConfig(images=("a.npy",), region="mask_b.npy", **base), folder, cases)
        )
        named = StudyConfig(images=("a.npy",), masks="mask_{stem}.npy", **base)
        found["masks"] = [
            said(lambda c=c, case=case: str(mask_of(c, folder, case)).replace(str(folder), ""))
            for c in (config, named)
            for case in cases
        ]
        found["paths"] = [
            mask_path(named, key, folder, cases[0]) is None for key in ("masks", "region", "reference")
        ]
        found["stems"] = [stem_of(Path(n)) for n in ("a.nii.gz", "b.tar.gz", "c.npy")] + [stem_of(folder)]
        found["file"] = said(lambda: file_of_image(folder, "mask_{stem}.npy", Path("c.npy")))
        found["devices"] = [
            devices_of(dataclasses.replace(named, devices=d, workers_per_device=n))
            for d, n in ((("cpu",), 2), (("cuda:0", "cuda:1"), 2))
        ]
        sizes = {}
        for name, more in (
            ("plain", {}), ("targets", {"targets": ("class:1", "class:yes", "1", "class:0")}),
            ("two", {"methods": {"gradient": {}, "rise": {}, "again": {"method": "gradient"}}}),
        ):  # fmt: skip
            config = StudyConfig(images=("a.npy", "b.npy"), **{**base, **more})
            tasks = tasks_of(config, folder, cases_of(config, folder), Trust(False, True))
            sizes[name] = [[t.label, t.target, Path(t.image).name, t.key.count("/")] for t in tasks]
        found["tasks"] = sizes
    return found


def lines() -> dict[str, Any]:
    """Lines of a run from scores that are missing, infinite or noted, and the tables that follow."""
    case = Case(path=Path("a.npy"), patient="p", label="yes", extra={"sex": "f"})
    task = ScoringTask("k", "a.npy", "", "m", case, (("rise", {}), ("walk", {})), (("lime", "memory"),))
    made = [
        Score(metric="deletion", label=name, value=value, reason=reason, note=note, passes=3, seconds=0.5)
        for name, value, reason, note in (
            ("rise", 0.5, "", ""), ("rise", float("nan"), "none", ""), ("rise", float("inf"), "", "inverted"),
            ("rise", float("-inf"), "", ""),
        )
    ]  # fmt: skip
    result = {
        "scores": [("deletion", one) for one in made],
        "outputs": [0.2, 0.8],
        "unreadable": {"walk": "torn"},
    }
    records = [record_of(task, result), record_of(task, Failure("died", "it ended"))]
    config = StudyConfig(
        out="o", cohort="c", subgroups=("sex", "label", "age"), model=ModelChoice(path="m"),
        methods={"rise": {}, "lime": {}, "walk": {"method": "latent-walk"}},
        metrics={"deletion": {}, "validity": {}, "sparseness": {}, "pointing-game": {}},
    )  # fmt: skip
    found: dict[str, Any] = {"records": json.loads(json.dumps(records)), "rows": rows_of(records, config)}
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run", about={})
        rng = np.random.default_rng(3)
        for n in range(9):
            about = dataclasses.replace(
                case, path=Path(f"{n}.npy"), patient=f"p{n * 5 // 8}", label="011"[n % 3]
            )
            many = [
                (
                    metric,
                    Score(metric=metric, label=method, value=float(rng.normal(method == "rise", 1)), passes=n),
                )
                for metric in ("deletion", "sparseness")
                for method in ("rise", "lime")
            ] + [("validity", Score(metric="validity", label="walk", value=float(n % 3 > 0)))]
            task = dataclasses.replace(task, image=f"{n}.npy", case=about, failed=())
            result = {"scores": many, "outputs": [1 - 0.1 * n, 0.1 * n] if n else None, "unreadable": {}}
            run.add_scores(f"{n}", **record_of(task, result))
        write_tables(run, config, [str(n) for n in (3, 1, 2, 0, 4, 5, 6, 7)])
        for name in ("scores.csv", "summary.csv", "comparisons.csv"):
            text = (run.folder / name).read_text().splitlines()
            found[name] = [len(text), text[0], [x.split(",")[:3] for x in text[1:4]]]
        found["summary"] = json.loads((run.folder / "summary.json").read_text())
        scored = list(run.scores().values())
        found["performance"] = performance(run, scored)
        three = [{**line, "outputs": [0.2, 0.3, 0.1 * n]} for n, line in enumerate(scored)]
        found["three classes"] = performance(
            run, [{**line, "label": str(n % 3)} for n, line in enumerate(three)]
        )
    return found


def conversions() -> dict[str, Any]:
    """Configurations of TorchEsegeta with all that has a meaning, and with what has none."""
    both = {
        "input_file": "x.nii.gz", "output_path": "out", "target": [1, "2"], "timeout": 30, "device_ids": [0, 2],
        "patch_size": [8, 8, 8], "patch_overlap": [4, 4, 4], "model_path": "m.pt", "is_3d": True,
        "strange": {"deep": 1},
        "test": {
            "captum_guided_grad_cam": {
                "target_layer": "self.model.base.layer4[1].conv2", "n_steps": 5, "visualize_method": "x",
                "odd": 3,
            },
            "Captum_occlusion": {"uncertainity": "inf", "sliding_window_shapes": "1,11,12,13", "strides": 4},
            "captum_Integrated_Gradients": {
                "nt_type": "smoothgrad_sq", "stdevs": 0.2, "n_steps": 7, "n_samples": 4, "target": 0, "x": None,
            },
            "captum_Saliency": {"nt_type": "vargrad", "nt_samples": 3}, "cnn_vis_DeepDream": {"filter_pos": 3},
        },
    }  # fmt: skip
    found: dict[str, Any] = {}
    cases: dict[str, Any] = {
        "both": both,
        "flat": {"captum_Saliency": {"abs": True}, "is_3d": False, "target": 3, "device": "cuda", "gpu": 1},
        "off": {
            "captum_Saliency": False,
            "captum_deep_lift": 1,
            "amp": True,
            "overlap": 0.3,
            "wrapper": "pixel",
            "timeout": 0,
            "gpu": False,
            "target": None,
            "patch_size": 16,
            "test_name": "captum_Saliency",
        },
        "none": {"a": 1},
        "list": [
            {"lime_segmentation": {"n_samples": 5}},
            {"m": "torchray_Rise"},
            "torchray_Rise",
            {"lime_segmentation": 1},
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, tree in cases.items():
            path = Path(folder) / f"{name}.json"
            path.write_text(json.dumps(tree))
            made = said(lambda path=path: dataclasses.asdict(convert_torchesegeta(path)))
            found[name] = made
    return found


def values() -> dict[str, Any]:
    return {part.__name__: part() for part in (drafts, surveys, inputs, lines, conversions)}
