"""Studies with metrics: a cohort, its tables, and what goes wrong as a row."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from conftest import small_network
from contrafact.core import ContrafactWarning, Heatmap, Image, InputError, Record, Trust
from contrafact.io import Run, images, open_run
from contrafact.study import read_study
from contrafact.study.inputs import cases_of, label_maps
from contrafact.study.runner import prepared, study
from contrafact.study.scoring import begin_scoring, performance, record_of, scoring_tasks_of

METHODS = "[methods.gradient]\n[methods.gradcam]\n[methods.rise]\nmasks = 16\ncells = 4\n"
REFERENCES = {"reference: random", "reference: edge detector", "reference: centre blob"}
METRICS = "[metrics.deletion]\nsteps = 5\n[metrics.infidelity]\nsamples = 16\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path)


def made(folder: Path, patients: int = 8) -> Path:
    """Two images of every patient, labels, a column of sexes, and a model."""
    save_file(small_network().eval().state_dict(), folder / "net.safetensors")
    about = {"factory": "conftest:small_network", "arguments": {}, "weights": "net.safetensors"}
    (folder / "net.json").write_text(json.dumps({**about, "classes": ["no", "yes"]}))
    rng = np.random.default_rng(0)
    lines = ["path,patient,label,sex,split"]
    for number in range(2 * patients):
        np.save(folder / f"{number}.npy", rng.uniform(0, 1, (1, 16, 16)).astype(np.float32))
        patient = number // 2
        lines.append(f"{number}.npy,p{patient},{'yes' if patient % 2 else 'no'},{'fm'[patient % 2]},val")
    (folder / "cohort.csv").write_text("\n".join(lines) + "\n")
    write(folder)
    return folder


def write(folder: Path, text: str = "", rest: str = METHODS + METRICS, model: str = "") -> Path:
    path = folder / "study.toml"
    head = 'cohort = "cohort.csv"\nout = "run"\ntargets = ["class:1"]\nsubgroups = ["sex", "label"]\n' + text
    path.write_text(head + (model or '[model]\npath = "net.json"\n') + rest)
    return path


def run_study(folder: Path, **more: Any) -> list[Any]:
    return list(study(folder / "study.toml", engine="local", trust_code=True, **more))


def scores(folder: Path) -> list[dict[str, str]]:
    with (folder / "run/scores.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_metric_of_every_method_of_every_image_and_the_tables(folder: Path) -> None:
    rows = run_study(folder)
    assert len(rows) == rows[-1].total == 16 * 3 + 16
    table = scores(folder)
    assert len(table) == 16 * (3 + 3) * 2  # three methods, three reference maps
    assert all(row["value"] for row in table)
    assert {row["method"] for row in table} == {"gradient", "gradcam", "rise"} | REFERENCES
    assert {row["sex"] for row in table} == {"f", "m"}
    summary = json.loads((folder / "run/summary.json").read_text())
    assert len(summary["summary"]) == (3 + 3) * 2
    assert all(row["patients"] == 8 and row["failed"] == 0 for row in summary["summary"])
    one = next(r for r in summary["summary"] if (r["method"], r["metric"]) == ("gradient", "deletion"))
    values = [float(r["value"]) for r in table if (r["method"], r["metric"]) == ("gradient", "deletion")]
    assert one["mean"] == pytest.approx(np.mean(values))
    assert one["low"] < one["mean"] < one["high"]
    patients = np.array(values).reshape(8, 2).mean(axis=1) if _in_order(table) else []
    assert one["median"] == pytest.approx(np.median(patients))
    assert len(summary["methods"]) == 2 * 3  # metrics x pairs of methods
    assert {(r["subgroup"], r["of"]) for r in summary["subgroups"]} == {
        ("sex", "f"), ("sex", "m"), ("label", "no"), ("label", "yes"),
    }  # fmt: skip
    (auc,) = summary["performance"]
    assert 0 <= auc["auc"] <= 1 and auc["cases"] == 16 and auc["patients"] == 8
    assert not run_study(folder)  # all is done


def test_damaged_results_and_scores_are_made_again(folder: Path) -> None:
    rest = "[methods.gradient]\n[methods.gradcam]\n[metrics.infidelity]\nsamples = 4\n"
    write(folder, rest=rest)
    run_study(folder)
    run = open_run(folder / "run")
    torn = next(row for row in run.rows() if row["label"] == "gradcam")["array"]
    content = bytearray((run.folder / "arrays" / torn).read_bytes())
    content[60:90] = bytes(30)
    (run.folder / "arrays" / torn).write_bytes(bytes(content))
    lost = next(row for row in run.rows() if row["label"] == "gradient" and row["source"].endswith("7.npy"))
    (run.folder / "arrays" / lost["array"]).unlink()
    lines = (run.folder / "scores.jsonl").read_text().splitlines()
    (run.folder / "scores.jsonl").write_text(json.dumps({"key": json.loads(lines[3])["key"], "scores": None}))
    before = scores(folder)
    assert not [row for row in run_study(folder) if row.failure]
    again = open_run(folder / "run")
    assert again.unreadable({row["key"] for row in again.rows()}) == set()
    assert [row["value"] for row in scores(folder)] == [row["value"] for row in before]


def test_a_result_that_is_damaged_when_it_is_scored_costs_its_own_values_alone(folder: Path) -> None:
    rest = "[methods.gradient]\n[methods.gradcam]\n[metrics.sparseness]\n"
    write(folder, rest=rest)
    run_study(folder)
    run = open_run(folder / "run")
    lost = next(row for row in run.rows() if row["label"] == "gradcam")
    array = run.folder / "arrays" / lost["array"]
    content = array.read_bytes()
    config = read_study(folder / "study.toml")
    trust = Trust(factories=True)
    cases, tasks, labelled = prepared(config, folder, trust)
    scorings = scoring_tasks_of(run, config, folder, cases, tasks, trust, labelled=labelled)
    scoring = next(s for s in scorings if lost["key"] in {row["key"] for _, row in s.maps})
    array.unlink()
    evaluate = begin_scoring((config, str(folder), trust, labelled, str(run.folder)), "cpu")
    line = record_of(scoring, evaluate(scoring))
    assert [row["method"] for row in line["failed"]] == ["gradcam"]
    assert lost["array"] in line["failed"][0]["reason"]
    assert {row["method"] for row in line["scores"]} >= {"gradient"}
    array.write_bytes(content)
    run.add_scores(scoring.key, **line)  # a run that was ended before it scored the repeated result
    run_study(folder)
    assert not open_run(folder / "run").scores()[scoring.key]["failed"]


def test_missing_masks_are_told_before_the_work_and_are_rows_after_it(folder: Path) -> None:
    (folder / "masks").mkdir()
    for number in range(2, 16):
        np.save(
            folder / "masks" / f"{number}.npy", np.pad(np.ones((1, 8, 8), np.float32), ((0, 0), (0, 8), (0, 8)))
        )
    rest = "[methods.gradient]\n[metrics.relevance-mass]\n[metrics.infidelity]\nsamples = 4\n"
    write(folder, 'masks = "masks/{stem}.npy"\n', rest=rest)
    with pytest.warns(ContrafactWarning, match=r"masks of 2 of 16 images are missing \(0.npy, 1.npy\)"):
        assert not [row for row in run_study(folder) if row.failure]
    table = [row for row in scores(folder) if row["method"] == "gradient"]
    empty = {(row["image"], row["metric"]) for row in table if not row["value"]}
    assert empty == {("0.npy", "relevance-mass"), ("1.npy", "relevance-mass")} and len(table) == 32


def test_two_studies_of_one_folder_are_not_run_at_once(folder: Path) -> None:
    write(folder, rest="[methods.gradient]\n")
    first = study(folder / "study.toml", engine="local", trust_code=True)
    next(first)
    with pytest.raises(InputError, match="another run is writing to"):
        run_study(folder)
    first.close()
    assert len(run_study(folder)) == 15 and not (folder / "run/.lock").exists()


def test_no_cell_of_a_table_is_a_formula(folder: Path) -> None:
    text = (folder / "cohort.csv").read_text().replace(",p0,", ",=1+2,").replace(",f,", ",@SUM(A1),")
    (folder / "cohort.csv").write_text(text)
    write(folder, rest="[methods.gradient]\n[metrics.infidelity]\nsamples = 4\n")
    run_study(folder)
    for name in ("scores.csv", "summary.csv", "comparisons.csv"):
        with (folder / "run" / name).open() as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell[:1] in ("=", "@")]
    assert {row["patient"] for row in scores(folder)} >= {"'=1+2", "p1"}


def test_a_study_reads_every_file_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a target is the name of a class, which asks the model about the first image."""
    masks = folder / "masks"
    masks.mkdir()
    for number in range(2):
        np.save(masks / f"{number}.npy", np.pad(np.ones((1, 4, 4), np.float32), ((0, 0), (4, 8), (4, 8))))
    cohort = (folder / "cohort.csv").read_text().splitlines()
    (folder / "cohort.csv").write_text("\n".join(cohort[:3]) + "\n")
    metrics = METRICS + "[metrics.relevance-mass]\n"
    path = write(
        folder, 'masks = "masks/{stem}.npy"\n', rest="[methods.gradient]\n[methods.gradcam]\n" + metrics
    )
    path.write_text(path.read_text().replace('"class:1"', '"yes", "no"'))
    read, reader = [], images.read_array
    monkeypatch.setattr(images, "read_array", lambda file, *more: read.append(file.name) or reader(file, *more))
    assert not [row for row in run_study(folder) if row.failure]
    assert sorted(read) == ["0.npy", "0.npy", "1.npy", "1.npy"]  # an image and a mask of each name


def _in_order(table: list[dict[str, str]]) -> bool:
    """The two images of a patient stand together: 0.npy, 1.npy, 10.npy, 11.npy, 12.npy, ..."""
    names = [r["patient"] for r in table if (r["method"], r["metric"]) == ("gradient", "deletion")]
    return names[::2] == names[1::2]


def test_reference_maps_are_judged_unless_they_are_not_wanted_and_are_no_explanations(folder: Path) -> None:
    from contrafact.core import EXPLAINERS

    (folder / "masks").mkdir()
    for number in range(16):
        mask = np.zeros((1, 16, 16), np.float32)
        mask[:, 4:8, 4:8] = 1
        np.save(folder / f"masks/{number}.npy", mask)
    place = "[metrics.relevance-mass]\n[metrics.mprt]\ndraws = 1\n"
    write(folder, 'masks = "masks/{stem}.npy"\n', rest="[methods.gradient]\n" + place)
    run_study(folder)
    found = {(r["method"], r["metric"], r["image"]): r["value"] for r in scores(folder)}
    assert {method for method, _, _ in found} == {"gradient", "reference: truth"} | REFERENCES
    assert float(found["reference: truth", "relevance-mass", "3.npy"]) == 1
    noise = [float(found["reference: random", "relevance-mass", f"{i}.npy"]) for i in range(16)]
    assert len(set(noise)) == 16 and max(noise) < 0.3  # another noise for every image
    for method in REFERENCES - {"reference: random"}:  # what looks at no model does not change with it
        assert float(found[method, "mprt", "0.npy"]) == pytest.approx(1)
    write(folder, 'references = false\nmasks = "masks/{stem}.npy"\n', rest="[methods.gradient]\n" + place)
    assert len(run_study(folder)) == 16
    assert {row["method"] for row in scores(folder)} == {"gradient"}
    write(
        folder,
        'masks = "masks/{stem}.npy"\n',
        rest="[methods.gradient]\n[metrics.pointing-game]\n[metrics.iou]\n",
    )
    run_study(folder)
    table = json.loads((folder / "run/summary.json").read_text())["summary"]
    truth = {r["metric"]: r for r in table if r["method"] == "reference: truth"}
    assert truth["pointing-game"]["mean"] == truth["iou"]["mean"] == 1
    assert truth["iou"]["low"] == 1 and truth["pointing-game"]["low"] < 0.7  # Wilson's, of 8 patients
    assert not any("reference" in name for name in EXPLAINERS.names())


def test_what_holds_by_construction_is_in_the_scores_and_in_no_table(tmp_path: Path) -> None:
    from contrafact.phantoms import draw_factors, knee_phantom
    from contrafact.report.page import write_report

    rng = np.random.default_rng(3)
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", knee_phantom(draw_factors(rng), rng).image.values)
    (tmp_path / "study.toml").write_text(
        'images = ["*.npy"]\nout = "run"\ntargets = ["class:1"]\n[model]\nbundle = "phantom"\n'
        "[methods.latent-walk]\nframes = 3\nrefinement = { steps = 5 }\n"
        "[metrics.calibration-gap]\n[metrics.step-monotonicity]\n[metrics.composition]\n[metrics.proximity]\n"
    )
    run_study(tmp_path)
    built = {"calibration-gap", "step-monotonicity", "composition"}
    assert {r["metric"] for r in scores(tmp_path) if r["value"]} == built | {"proximity"}
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert set(summary["by_construction"]) == built and list(summary["better"]) == ["proximity"]
    assert {r["metric"] for r in summary["summary"] + summary["ranks"]} == {"proximity"}
    assert "holds by construction" in write_report(open_run(tmp_path / "run")).read_text()


def test_parquet_holds_what_the_csv_holds(folder: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="contrafact[table] is not installed")
    run_study(folder)
    (found,) = duckdb.sql(f"SELECT count(*), avg(value) FROM '{folder}/run/scores.parquet'").fetchall()
    assert found[0] == len(scores(folder))
    assert found[1] == pytest.approx(np.mean([float(r["value"]) for r in scores(folder)]))


def test_passes_are_shared_between_methods(folder: Path) -> None:
    run_study(folder)
    lines = open_run(folder / "run").scores().values()
    assert {s["passes"] for line in lines for s in line["scores"] if s["metric"] == "infidelity"} <= {16, 17}


def test_another_metric_judges_the_maps_that_are_there(folder: Path) -> None:
    run_study(folder)
    write(folder, rest=METHODS + METRICS + "[metrics.few]\nmetric = 'deletion'\nsteps = 3\n")
    rows = run_study(folder)
    assert len(rows) == 16
    assert {row["metric"] for row in scores(folder)} == {"deletion", "infidelity", "few"}
    assert len(scores(folder)) == 16 * (3 + 3) * 3


def test_a_missing_file_and_a_method_that_fails_are_rows_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "3.npy").unlink()
    write(folder, rest="[methods.gradient]\n[methods.gradcam]\nlayer = 'nowhere'\n" + METRICS)
    run_study(folder)
    table = scores(folder)
    assert len([row for row in table if row["method"] not in REFERENCES]) == 16 * 2 * 2
    missing = [row for row in table if row["image"] == "3.npy"]
    assert len(missing) == (2 + 3) * 2 and not any(row["value"] for row in missing)
    assert all(
        ("3.npy" if row["method"] not in REFERENCES else "no method") in row["reason"] for row in missing
    )
    broken = [row for row in table if row["method"] == "gradcam" and row["image"] != "3.npy"]
    assert all(not row["value"] and "nowhere" in row["reason"] for row in broken)
    good = [row for row in table if row["method"] == "gradient" and row["image"] != "3.npy"]
    assert all(row["value"] for row in good)
    summary = json.loads((folder / "run/summary.json").read_text())
    assert [r["failed"] for r in summary["summary"] if r["method"] == "gradcam"] == [16, 16]
    assert [r["rank"] for r in summary["ranks"] if r["method"] == "gradcam"] == [
        (7 * 5 + 3) / 8  # of the patient whose file is missing all failed: they share the rank
    ] * 2


def test_a_metric_that_needs_masks_says_so_and_the_rest_goes_on(folder: Path) -> None:
    write(folder, rest=METHODS + METRICS + "[metrics.relevance-mass]\n")
    run_study(folder)
    table = scores(folder)
    assert all("mask" in r["reason"] and not r["value"] for r in table if r["metric"] == "relevance-mass")
    assert all(r["value"] for r in table if r["metric"] == "deletion")
    (folder / "masks").mkdir()
    for number in range(16):
        mask = np.zeros((1, 16, 16), np.float32)
        mask[:, 4:8, 4:8] = 1
        np.save(folder / f"masks/{number}.npy", mask)
    write(folder, 'masks = "masks/{stem}.npy"\n', rest=METHODS + METRICS + "[metrics.relevance-mass]\n")
    assert len(run_study(folder)) == 16  # the maps are there, the judgement is new
    assert all(r["value"] for r in scores(folder))


def test_one_class_only_is_said(folder: Path) -> None:
    text = (folder / "cohort.csv").read_text().replace(",no,", ",yes,")
    (folder / "cohort.csv").write_text(text)
    run_study(folder)
    summary = json.loads((folder / "run/summary.json").read_text())
    assert "one class only" in summary["performance"][0]["reason"]


def test_a_patient_in_two_splits_is_refused(folder: Path) -> None:
    lines = (folder / "cohort.csv").read_text().splitlines()
    lines[1] = lines[1].replace(",val", ",train")
    (folder / "cohort.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match="patient 'p0' is in the splits 'train' and 'val'"):
        run_study(folder)


def test_splits_and_subgroups_that_are_not_there_are_answered_with_the_nearest(folder: Path) -> None:
    write(folder, 'split = "vall"\n')
    with pytest.raises(InputError, match="got 'vall'.*'val'"):
        run_study(folder)
    path = write(folder)
    path.write_text(path.read_text().replace('"sex"', '"sexx"'))
    with pytest.raises(InputError, match="subgroup 'sexx'.*'sex'"):
        run_study(folder)
    path = write(folder, rest=METHODS + "[metrics.deletoin]\n")
    with pytest.raises(InputError, match="deletion"):
        read_study(path)


def test_two_models_are_compared_on_the_same_cohort(folder: Path) -> None:
    network = small_network().eval()
    network[0].weight.data.mul_(-1)
    save_file(network.state_dict(), folder / "other.safetensors")
    about = json.loads((folder / "net.json").read_text()) | {"weights": "other.safetensors"}
    (folder / "other.json").write_text(json.dumps(about))
    models = '[models.old]\npath = "net.json"\n[models.new]\npath = "other.json"\n'
    write(folder, model=models)
    run_study(folder)
    assert {row["model"] for row in scores(folder)} == {"old", "new"}
    summary = json.loads((folder / "run/summary.json").read_text())
    assert {(r["first"], r["second"]) for r in summary["models"]} == {("new", "old")}
    some = [r for r in summary["models"] if r["metric"] == "infidelity"]
    assert len(some) == 3
    assert all(r["patients"] == 8 and r["holm"] is not None for r in some)
    assert {r["model"] for r in summary["performance"]} == {"old", "new"}


@pytest.mark.slow
def test_killed_in_the_middle_it_resumes_to_the_same_table(tmp_path: Path) -> None:
    whole, killed = made(_new(tmp_path / "whole")), made(_new(tmp_path / "killed"))
    run_study(whole)
    code = (
        "import sys; from contrafact.study.runner import study; "
        "[None for _ in study(sys.argv[1], engine='local', trust_code=True)]"
    )
    tests = str(Path(__file__).parents[1])
    for wanted in ("results.jsonl", "scores.jsonl"):  # once among the maps, once among the metrics
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(killed / "study.toml")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])},
        )
        log, deadline = killed / "run" / wanted, time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if log.exists() and log.read_bytes().count(b"\n") >= 5:
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (killed / "run/scores.csv").exists()
    assert run_study(killed)
    for name in ("scores.csv", "summary.csv", "comparisons.csv", "summary.json"):
        assert (killed / "run" / name).read_text() == (whole / "run" / name).read_text()


def _new(path: Path) -> Path:
    path.mkdir()
    return path


def test_the_report_tells_what_was_found(folder: Path) -> None:
    from contrafact.report.page import write_report

    write(folder, rest=METHODS + METRICS + "[metrics.relevance-mass]\n")
    run_study(folder)
    page = write_report(open_run(folder / "run")).read_text()
    for words in ("Results of the study", "deletion (lower is better)", "Mean ranks", "Subgroups",
                  "8 patients", "96 values are missing", "No method has a value", "reference: edge detector",
                  "Disagreement between families of metrics", "Means and medians of every metric"):  # fmt: skip
        assert words in page, words


def test_a_page_shows_the_first_images_and_says_how_many_more_there_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contrafact.report import page as report

    run_study(folder)
    monkeypatch.setattr(report, "IMAGES", 3)
    page = report.write_report(open_run(folder / "run")).read_text()
    assert "13 more with results are not on this page" in page
    assert page.count('class="card case"') == 3


def test_one_call_judges_the_maps_of_one_image() -> None:
    import contrafact as cf

    network = small_network().eval()
    image = cf.Image(np.random.default_rng(0).uniform(0, 1, (1, 16, 16)).astype(np.float32))
    model = cf.load_predictor(network, classes=["no", "yes"])
    maps = [cf.explain("gradient", model, image, target="class:1"),
            cf.explain("smooth", model, image, target="class:1", samples=2)]  # fmt: skip
    scores = cf.evaluate(maps, model, image, ["deletion", "relevance-mass"])
    assert [(s.metric, s.label) for s in scores][:2] == [("deletion", "gradient"), ("deletion", "smooth")]
    assert all(np.isfinite(s.value) for s in scores[:2])
    assert all("mask" in s.reason for s in scores[2:])
    with pytest.raises(InputError, match="another grid"):
        cf.evaluate(maps, model, cf.Image(np.ones((1, 8, 8), np.float32)), ["deletion"])
    with pytest.raises(InputError, match="deletion"):
        cf.evaluate(maps, model, image, ["deletoin"])


def test_a_method_with_a_part_inside_is_explained_again_by_metrics(folder: Path) -> None:
    inside = "[methods.smooth]\nsamples = 2\ninner = { name = 'smooth', samples = 1 }\n"
    write(folder, rest=METHODS + inside + "[metrics.max-sensitivity]\nsamples = 2\n")
    run_study(folder)
    assert not {row["reason"] for row in scores(folder) if row["reason"]}


def test_strips_are_judged_by_their_own_metrics_and_maps_by_theirs(tmp_path: Path) -> None:
    from contrafact.phantoms import draw_factors, knee_phantom

    rng = np.random.default_rng(3)
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", knee_phantom(draw_factors(rng), rng).image.values)
    path = tmp_path / "study.toml"
    path.write_text(
        'images = ["*.npy"]\nout = "run"\ntargets = ["class:1"]\n'
        "[model]\nbundle = 'phantom'\n[second_model]\nbundle = 'phantom'\npath = 'cheat'\n"
        "[methods.gradient]\n[methods.latent-walk]\nframes = 3\nrefinement = { steps = 5 }\n"
        "[metrics.deletion]\nsteps = 4\n[metrics.validity]\n[metrics.proximity]\n[metrics.oracle-agreement]\n"
        "[metrics.reversibility]\n[metrics.off-target]\n"
    )
    run_study(tmp_path)
    table = scores(tmp_path)
    assert {(r["method"], r["metric"]) for r in table if r["method"] == "gradient"} == {
        ("gradient", "deletion")
    }
    walked = {(r["metric"], r["image"]): r for r in table if r["method"] == "latent-walk"}
    assert len(walked) == 5 * 2
    for number in range(2):
        assert not {k: row["reason"] for k, row in walked.items() if row["reason"]}
        assert float(walked["validity", f"{number}.npy"]["value"]) == 1
        assert 0 < float(walked["proximity", f"{number}.npy"]["value"]) < 0.2
        assert 0 <= float(walked["reversibility", f"{number}.npy"]["value"]) < 0.1
        assert float(walked["oracle-agreement", f"{number}.npy"]["value"]) in (0, 1)


def test_masks_are_label_maps_of_the_whole_cohort_or_of_none(folder: Path) -> None:
    """The image whose label map holds 0 and 1 alone has nothing of class 2."""
    (folder / "masks").mkdir()
    for number in range(16):
        mask = np.zeros((1, 16, 16), np.float32)
        mask[:, 4:8, 4:8], mask[:, 10:14, 10:14] = 1, number != 3
        mask[:, 12:14, 10:14] *= 2
        np.save(folder / f"masks/{number}.npy", mask)
    save_file(small_network(outputs=3).eval().state_dict(), folder / "net.safetensors")
    about = {"factory": "conftest:small_network", "arguments": {"outputs": 3}, "weights": "net.safetensors"}
    (folder / "net.json").write_text(json.dumps({**about, "classes": ["a", "b", "c"]}))
    text = 'cohort = "cohort.csv"\nout = "run"\ntargets = ["class:2"]\nmasks = "masks/{stem}.npy"\n'
    rest = '[model]\npath = "net.json"\n[methods.gradient]\n[metrics.relevance-mass]\n'
    (folder / "study.toml").write_text(text + rest)
    run_study(folder)
    found = {r["image"]: r for r in scores(folder) if r["method"] == "gradient"}
    assert found["0.npy"]["value"] and not found["3.npy"]["value"]
    assert "mask" in found["3.npy"]["reason"]
    keys = {row["key"] for row in open_run(folder / "run").rows()}
    (folder / "study.toml").write_text(text.replace("masks =", "region =") + rest)
    run_study(folder)
    run = open_run(folder / "run")
    fresh = {row["source"].rsplit("/")[-1]: row for row in run.rows() if row["key"] not in keys}
    assert run.arrays(fresh["0.npy"])["values"].any()
    assert "3.npy" not in fresh or not run.arrays(fresh["3.npy"])["values"].any()


def test_a_study_of_masks_alone_reads_them_as_masks_of_any_class(folder: Path) -> None:
    config = read_study(write(folder, 'region = "masks/{stem}.npy"\n'))
    (folder / "masks").mkdir()
    for number in range(16):
        np.save(folder / f"masks/{number}.npy", np.full((1, 16, 16), number % 2, np.float32))
    assert label_maps(config, folder, cases_of(config, folder)) == frozenset()
    np.save(folder / "masks/9.npy", np.full((1, 16, 16), 3, np.float32))
    assert label_maps(config, folder, cases_of(config, folder)) == {"region"}


def test_each_model_has_its_own_names_of_classes(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    for model, names in (("one", ("cat", "dog")), ("two", ("no", "yes"))):
        image = Image(np.zeros((1, 4, 4)))
        record = Record(method="m", parameters={}, target="class:1", model=model, image=model)
        heat = Heatmap(values=np.eye(4), grid=image.grid, record=record)
        run.add(model, image, heat, model_name=model, answers=[f"{name} 50 %" for name in names])
    line = {"model": "two", "failure": "", "columns": {}, "failed": [], "scores": []}
    lines = [
        {**line, "source": f"{n}.png", "patient": str(n), "label": ("no", "yes")[n % 2], "outputs": [1 - s, s]}
        for n, s in enumerate((0.1, 0.9, 0.2, 0.8))
    ]
    (found,) = performance(run, lines)
    assert (found["class"], found["auc"], found["cases"]) == (1, 1.0, 4)
