"""The command line: what it does, and one clear line for everything that goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import save_file

from conftest import RANGE, small_network
from contrafact.api import explanation as face
from contrafact.api.case import Plan, answers, method_and_target
from contrafact.attribution import GradCAM
from contrafact.bundles import load_bundle
from contrafact.cli import app, main
from contrafact.core import Image
from contrafact.counterfactual import LatentWalk
from contrafact.io import open_run, read_image, read_tensors
from contrafact.models import load_predictor
from contrafact.phantoms import draw_factors, knee_phantom
from contrafact.render.outcome import sentence


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_file(small_network().state_dict(), tmp_path / "w.safetensors")
    about = {
        "factory": "conftest:small_network",
        "weights": "w.safetensors",
        "classes": ["well", "sick"],
        "preprocessing": {"size": [16, 16], "channels": 1, "window": [0, 255]},
    }
    (tmp_path / "m.json").write_text(json.dumps(about))
    return tmp_path / "m.json"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Picture.fromarray(values).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def python_path() -> str:
    """The tests' folder, for a process of its own, with the path of this one."""
    return os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main([str(w) for w in words])
    out, err = capsys.readouterr()
    return code, out, err


class Counting(torch.nn.Module):
    """A network that counts the images that pass through it."""

    passes = 0

    def __init__(self) -> None:
        super().__init__()
        self.network = small_network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Counting.passes += len(x)
        return self.network(x)


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        (["--methods", "gradient", "--target", "class:1"], 1),
        (["--methods", "gradient"], 2),  # the predicted class costs one
        (["--methods", "gradient,input-x-gradient"], 3),
        (["--methods", "gradient,input-x-gradient", "--target", "class:1"], 2),
    ],
)
def test_explain_asks_the_model_once_for_what_it_knows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, picture: Path, words: list[str], passes: int
) -> None:
    save_file(Counting().state_dict(), tmp_path / "w.safetensors")
    about = {
        "factory": "test_cli:Counting",
        "weights": "w.safetensors",
        "classes": ["well", "sick"],
        "preprocessing": {"size": [16, 16], "channels": 1, "window": [0, 255]},
    }
    (tmp_path / "m.json").write_text(json.dumps(about))
    words = [
        "explain",
        str(picture),
        "--model",
        str(tmp_path / "m.json"),
        "--trust-code",
        "--no-checks",
        *words,
    ]
    Counting.passes = 0
    code, _, err = run(capsys, *words, "--out", tmp_path / "run")
    assert code == 0, err
    assert Counting.passes == passes
    plain = load_predictor(tmp_path / "m.json", trust_code=True)
    assert open_run(tmp_path / "run").rows()[0]["answers"] == answers(plain, read_image(picture))


def test_explain_keeps_what_was_finished_before_an_unreadable_image(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, picture: Path
) -> None:
    out, broken = tmp_path / "run", tmp_path / "broken.png"
    broken.write_text("no picture")
    words = ["--model", model, "--trust-code", "--out", out, "--methods", "gradient", "--no-checks"]
    code, _, err = run(capsys, "explain", picture, tmp_path / "none.png", *words)
    assert code and "does not exist" in err and not out.exists()
    code, _, err = run(capsys, "explain", broken, *words)
    assert code and "broken.png" in err and not out.exists()
    code, _, err = run(capsys, "explain", picture, broken, *words)
    assert code and "broken.png" in err
    assert [Path(row["source"]).name for row in open_run(out).rows()] == [picture.name]


def test_explain_writes_a_run_and_goes_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, picture: Path
) -> None:
    words = ["explain", picture, "--model", model, "--trust-code", "--out", tmp_path / "run", "--json"]
    code, out, _ = run(capsys, *words, "--methods", "occlusion,ig", "--set", "occlusion.box=8")
    assert code == 0
    shown = json.loads(out)
    assert len(shown["results"]) == 2
    assert Path(shown["report"]).exists()
    assert shown["results"][0]["record"]["parameters"]["box"] == 8
    stamp = next((tmp_path / "run" / "arrays").glob("00000-*.npz")).stat().st_mtime_ns
    again = [*words, "--methods", "occlusion,gradcam", "--set", "occlusion.box=8"]
    assert run(capsys, *again)[0] == 0
    assert len(open_run(tmp_path / "run").rows()) == 3
    assert next((tmp_path / "run" / "arrays").glob("00000-*.npz")).stat().st_mtime_ns == stamp


def test_every_result_has_a_trust_card_unless_it_is_not_wanted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, picture: Path
) -> None:
    words = [
        "explain",
        picture,
        "--model",
        model,
        "--trust-code",
        "--methods",
        "gradcam,rise",
        "--set",
        "rise.masks=64",
    ]
    assert run(capsys, *words, "--out", tmp_path / "with")[0] == 0
    gradcam, rise = open_run(tmp_path / "with").rows()
    names = ["random weights", "small noise", "other seeds", "removal test"]
    assert [check["name"] for check in gradcam["trust"]] == names
    assert rise["trust"][2]["value"] < 1 == gradcam["trust"][2]["value"]
    failed = [c["sentence"] for row in (gradcam, rise) for c in row["trust"] if c["passed"] is False]
    page = (tmp_path / "with" / "report.html").read_text()
    assert page.count('<span class="doubt">') == 2 * len(failed)  # in the gallery of doubts and at the result
    assert run(capsys, *words, "--out", tmp_path / "without", "--no-trust")[0] == 0
    assert all("trust" not in row for row in open_run(tmp_path / "without").rows())


def test_another_image_model_or_parameter_is_another_result(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, picture: Path
) -> None:
    words = ["--model", model, "--trust-code", "--out", tmp_path / "run", "--methods", "occlusion"]
    assert run(capsys, "explain", picture, *words)[0] == 0
    assert run(capsys, "explain", picture, *words, "--set", "occlusion.box=3")[0] == 0
    (tmp_path / "b").mkdir()
    Picture.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "b" / "x.png")
    assert run(capsys, "explain", tmp_path / "b" / "x.png", *words)[0] == 0
    rows = open_run(tmp_path / "run").rows()
    assert len(rows) == 3
    assert len({r["record"]["image"] for r in rows}) == 2
    assert (tmp_path / "run" / "report.html").read_text().count('<section class="card case"') == 2


def test_aliases_take_their_settings_along(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, picture: Path
) -> None:
    words = ["explain", picture, "--bundle", "phantom", "--out", tmp_path / "run", "--json"]
    more = ["--methods", "walk,ig,latent-shift", "--goal", "0.7", "--set", "ig.steps=5", "--target", "class:1"]
    code, out, err = run(capsys, *words, *more)
    assert code == 0, err
    records = {r["record"]["method"]: r["record"]["parameters"] for r in json.loads(out)["results"]}
    assert records["latent-walk"]["goal"] == 0.7
    assert records["latent-shift"]["goal"] == 0.7
    assert records["integrated-gradients"]["steps"] == 5


@pytest.mark.filterwarnings(RANGE)
def test_a_model_without_gradients_or_layers_gets_the_methods_that_it_allows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, picture: Path
) -> None:
    x = torch.rand(1, 1, 32, 32)
    torch.jit.save(torch.jit.trace(small_network().eval(), x), tmp_path / "m.ts")
    code, out, err = run(
        capsys, "explain", picture, "--model", tmp_path / "m.ts", "--trust", "--out", tmp_path / "r", "--json"
    )
    assert code == 0, err
    methods = {r["record"]["method"] for r in json.loads(out)["results"]}
    assert methods == {"integrated-gradients", "occlusion"}


def test_list_names_aliases_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", "explainers", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)}
    assert {"gradcam", "integrated-gradients", "occlusion", "latent-walk"} <= set(rows)
    assert "ig" in rows["integrated-gradients"]["aliases"]
    for what in ("targets", "bundles"):
        assert run(capsys, "list", what)[0] == 0


def test_check_says_what_works_and_why_not(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    code, out, _ = run(capsys, "check", model, "--trust-code", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)["methods"]}
    assert rows["gradcam"]["works"]
    assert not rows["latent-walk"]["works"]
    assert rows["gradcam"]["status"] == "exact"
    assert rows["rise"]["status"] == "approximate"
    assert rows["attention-rollout"]["status"] == "unsupported"
    assert "needs a bundle" in rows["latent-walk"]["why"]


def test_every_parameter_of_every_verb_is_described() -> None:
    verbs = [app[name] for name in app if not name.startswith("-")]
    assert len(verbs) > 8
    for verb in verbs:
        for argument in verb.assemble_argument_collection(parse_docstring=True):
            assert argument.parameter.help, f"{verb.name} {argument.name}"


@pytest.mark.parametrize("verb", ["demo", "explain", "fit", "list", "check"])
def test_every_verb_has_help_with_an_example(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    code, out, _ = run(capsys, verb, "--help")
    assert code == 0
    assert f"contrafact {verb}" in out
    assert "Example" in out


def test_the_list_of_commands_says_what_each_does(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["-h"], []):
        code, out, _ = run(capsys, *words)
        assert code == 0
        text = " ".join(out.replace("│", " ").split())
        assert "explain Explain a model's predictions for images" in text
        assert "list List the available explainers" in text


def test_the_list_of_metrics_says_what_they_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "list", "metrics")[1]
    assert "counterfactual, higher is better: Check whether the model's output for the counterfactual" in out
    assert "strip, " not in out


def bad(tmp_path: Path) -> dict[str, tuple[list[object], str]]:
    """Every kind of bad input: the words, and what the one line must say."""
    (tmp_path / "text.png").write_text("this is not a picture")
    np.save(tmp_path / "nan.npy", np.full((32, 32), np.nan))
    np.save(tmp_path / "colour.npy", np.zeros((3, 32, 32)))
    np.save(tmp_path / "small.npy", np.zeros((8, 8)))
    torch.save(os.system, tmp_path / "evil.pt")
    (tmp_path / "empty").mkdir(exist_ok=True)
    toml = 'name = "a"\nout = "o"\n[data]\npath = "{}"\n'
    (tmp_path / "empty.toml").write_text(toml.format("empty"))
    (tmp_path / "key.toml").write_text(toml.format("empty") + "[training]\nkmig = 3\n")
    (tmp_path / "broken.toml").write_text("= nothing")
    m, x, out = tmp_path / "m.json", tmp_path / "x.png", tmp_path / "run"
    ask: list[object] = ["--model", m, "--trust-code", "--out", out]
    return {
        "missing file": (["explain", tmp_path / "none.png", *ask], "does not exist"),
        "text named png": (["explain", tmp_path / "text.png", *ask], "not a readable picture"),
        "nan": (["explain", tmp_path / "nan.npy", *ask], "1024 NaN or infinite"),
        "channels": (["explain", tmp_path / "colour.npy", *ask], "takes 1 channel(s); got 3"),
        "too small": (["explain", tmp_path / "small.npy", *ask], "at least 16 x 16; got 8 x 8"),
        "class index": (["explain", x, *ask, "--target", "class:9"], "class index must be 0 to 1; got 9"),
        "unknown method": (["explain", x, *ask, "--methods", "gradcma"], "did you mean 'gradcam'"),
        "unknown setting": (["explain", x, *ask, "--set", "occlusion.bocks=1"], "did you mean 'box'"),
        "no model": (["explain", x], "expected --model or --bundle"),
        "unknown bundle": (["explain", x, "--bundle", "phantm"], "did you mean 'phantom'"),
        "pickle": (["explain", x, "--model", tmp_path / "evil.pt"], "pickled code and was not opened"),
        "empty cohort": (["fit", tmp_path / "empty.toml"], "empty cohort"),
        "unknown key": (["fit", tmp_path / "key.toml"], "did you mean 'kimg'"),
        "not toml": (["fit", tmp_path / "broken.toml"], "is not TOML"),
        "unknown stage": (["fit", tmp_path / "empty.toml", "--stage", "encodr"], "did you mean 'encoder'"),
        "unknown option": (["explain", x, "--modle", m], "modle"),
        "unknown verb": (["explian"], "explian"),
    }


KINDS = (
    "missing file",
    "text named png",
    "nan",
    "channels",
    "too small",
    "class index",
    "unknown method",
    "unknown setting",
    "no model",
    "unknown bundle",
    "pickle",
    "empty cohort",
    "unknown key",
    "not toml",
    "unknown stage",
    "unknown option",
    "unknown verb",
)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_one_clear_line_and_exit_code_two(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, picture: Path, kind: str
) -> None:
    words, said = bad(tmp_path)[kind]
    code, out, err = run(capsys, *words)
    assert code == 2, err
    assert out == ""
    assert said in err
    lines = [line for line in err.splitlines() if line.startswith("contrafact: ")]
    assert len(lines) == 1
    assert "Traceback" not in err


def test_a_truncated_dicom_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path
) -> None:
    from pydicom.data import get_testdata_file

    words = [
        "explain",
        get_testdata_file("MR_truncated.dcm"),
        "--model",
        model,
        "--trust-code",
        "--out",
        tmp_path / "r",
    ]
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "Traceback" not in err


def test_debug_shows_where(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "explain", tmp_path / "none.png", "--bundle", "phantom", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_a_full_disk_is_a_failure_that_keeps_what_was_finished(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    model: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["explain", picture, "--model", model, "--trust-code", "--out", tmp_path / "run"]
    assert run(capsys, *words, "--methods", "occlusion")[0] == 0

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("contrafact.io.weights.os.fsync", full)
    code, _, err = run(capsys, *words, "--methods", "gradcam")
    assert code == 1
    assert "No space left" in err
    monkeypatch.undo()
    assert len(open_run(tmp_path / "run").rows()) == 1


def fit_folder(tmp_path: Path, model: Path, kimg: float) -> Path:
    folder = tmp_path / "images"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(24):
        values = np.full((16, 16), 30, np.uint8)
        y, x = rng.integers(0, 10, 2)
        values[y : y + 6, x : x + 6] = rng.integers(120, 255)
        Picture.fromarray(values).save(folder / f"{number:02d}.png")
    (tmp_path / "fit.toml").write_text(
        f'name = "toy"\nout = "out"\n[data]\npath = "images"\n'
        f'[models.net]\npath = "{model.name}"\ntargets = ["class:1", "value:0"]\n'
        "[generator]\nresolution = 16\nchannel_base = 64\nchannel_max = 8\nz_dim = 8\nw_dim = 8\n"
        f"[training]\nkimg = {kimg}\nbatch = 8\n[encoder]\nsteps = 20\nbatch = 4\nwidth = 4\n"
        "[direction]\nsamples = 500\nbootstrap = 10\n"
    )
    return tmp_path / "fit.toml"


def test_fit_makes_a_bundle_that_explains(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path, picture: Path
) -> None:
    config = fit_folder(tmp_path, model, 0.2)
    for stage in ("generator", "encoder", "direction"):
        code, _, err = run(capsys, "fit", config, "--stage", stage, "--trust-code", "--json")
        assert code == 0, err
    assert (tmp_path / "out" / "samples.png").exists()
    assert json.loads((tmp_path / "out" / "fit.json").read_text())["training"]["batch"] == 8
    words = ["explain", picture, "--bundle", tmp_path / "out" / "bundle", "--out", tmp_path / "run"]
    more = ["--target", "class:1", "--goal", "0.6", "--trust-code", "--json"]
    code, out, err = run(capsys, *words, *more)
    assert code == 0, err
    assert [r["kind"] for r in json.loads(out)["results"]].count("strip") == 1
    code, _, err = run(capsys, "fit", config, "--stage", "generator")
    assert code == 2
    assert "--resume" in err


def test_ctrl_c_during_training_loses_nothing(tmp_path: Path, model: Path) -> None:
    config = fit_folder(tmp_path, model, 500.0)
    words = [sys.executable, "-m", "contrafact.cli", "fit", str(config), "--stage", "generator"]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
    path = tmp_path / "out" / "fit.json"
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "finished results are kept" in err
    seen = int(read_tensors(tmp_path / "out" / "checkpoint.safetensors")["counts"][1])
    assert seen > 0
    config.write_text(config.read_text().replace("kimg = 500.0", f"kimg = {(seen + 16) / 1000}"))
    done = subprocess.run(
        [*words, "--resume", "--json"], capture_output=True, text=True, env=environment, check=True
    )
    assert json.loads(done.stdout)["stages"]["generator"]["done"] == seen + 16


def test_one_class_only_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, model: Path) -> None:
    state = small_network().state_dict()
    state["7.weight"].zero_()
    save_file(state, tmp_path / "w.safetensors")
    config = fit_folder(tmp_path, model, 0.05)
    code, _, err = run(capsys, "fit", config, "--trust-code")
    assert code == 2
    assert "scores for class:1 that differ" in err


def test_two_processes_train_one_generator(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("lightning_fabric")
    config = fit_folder(tmp_path, model, 0.064)
    words = [sys.executable, "-m", "contrafact.cli", "fit", str(config), "--stage", "generator"]
    environment = {**os.environ, "PYTHONPATH": python_path(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*words, "--devices", "2", "--device", "cpu", "--json"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps, seen = read_tensors(tmp_path / "out" / "checkpoint.safetensors")["counts"][:2].tolist()
    assert (steps, seen) == (8, 64)  # 8 images a step, 4 of each process


def test_progress_into_a_file_is_lines_with_the_remaining_time(capsys: pytest.CaptureFixture[str]) -> None:
    from contrafact.cli.progress import bar

    with bar("work", 4, quiet=False) as move:
        for done in (1, 2, 4):
            move(done)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in lines] == ["work"] * 3
    assert lines[1].startswith("work (50 %, 0:00:0")
    assert lines[1].endswith("left)")
    assert lines[2] == "work (100 %)"
    with bar("work", 200, quiet=False) as move:
        move(208)  # the last of the steps of 16 images
    assert capsys.readouterr().err == "work (100 %)\n"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.3, "1 second"), (1.2, "2 seconds"), (89, "89 seconds"), (120, "2.0 minutes")]
)
def test_a_plan_tells_durations_in_words(seconds: float, words: str) -> None:
    from contrafact.cli.fit import _duration

    assert _duration(seconds) == words


def test_a_map_is_told_in_words_where_places_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from contrafact.phantoms import draw_factors, knee_phantom

    rng = np.random.default_rng(0)
    labels = np.zeros((1, 32, 32), np.float32)
    labels[:, 10:16, 4:12] = 3
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "image.npy", knee_phantom(draw_factors(rng), rng).image.values)
    ask = ["explain", str(tmp_path / "image.npy"), "--bundle", "phantom", "--methods", "gradcam", "--no-trust",
           "--labels", str(tmp_path / "labels.npy"), "--out", str(tmp_path / "run")]  # fmt: skip
    assert main([*ask, "--names", "3=medial joint"]) == 0
    (row,) = open_run(tmp_path / "run").rows()
    assert {place["name"] for place in row["evidence"]} >= {"medial joint"}
    assert "of the evidence for" in row["words"]
    assert row["words"] in (tmp_path / "run/report.html").read_text()
    assert main([*ask, "--names", "lesion"]) == 2
    assert "expected --names NUMBER=NAME" in capsys.readouterr().err


def test_the_demo_shows_a_knee_on_each_side_and_phantoms_of_both_models() -> None:
    from contrafact.cli.demo_cases import demo_cases

    planned, cards = demo_cases([], 4, 0)
    knees = [(image, plan) for name, image, plan in planned if name.startswith("Synthetic knee")]
    assert [card["name"] for card in cards] == ["knee", "phantom"]
    answers = [float(plan.bundle.predict([image])[0, 1]) for image, plan in knees]
    assert len(knees) == 4 and answers[0] < 0.5 < answers[-1] and answers == sorted(answers)
    assert all("translate" in plan.methods for _, plan in knees)
    assert all(image.values.shape == plan.bundle.image_shape for image, plan in knees)
    assert all(image.about["synthetic"] for image, _ in knees), "no patient's image ships"
    others = [(name, plan.model) for name, _, plan in planned[4:]]
    assert planned[0][0] == "Synthetic knee 1" and len(others) == 4 and len({model for _, model in others}) == 2
    assert all(name.startswith("Phantom") for name, _ in others)


def test_a_goal_without_a_target_asks_for_the_other_answer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of wide and narrow phantoms: the map stays on the predicted class, the counterfactual is a change."""
    bundle, rng = load_bundle("phantom"), np.random.default_rng(3)
    predicted = set()
    for number in range(8):
        image = knee_phantom(draw_factors(rng), rng).image
        best = int(bundle.predict([image])[0].argmax())
        if best in predicted:
            continue
        predicted.add(best)
        np.save(tmp_path / f"{number}.npy", image.values[0])
        words = ["explain", tmp_path / f"{number}.npy", "--bundle", "phantom", "--goal", "0.9", "--json"]
        words += ["--methods", "gradcam,latent-walk", "--out", tmp_path / f"run{number}", "--no-trust"]
        code, out, _ = run(capsys, *words)
        heat, walk = json.loads(out)["results"]
        assert code == 0 and heat["record"]["target"] == f"class:{best}"
        assert walk["record"]["target"] == f"class:{1 - best}" and walk["outcome"] == "reached"
        assert walk["scores"][walk["origin"]] < 0 and walk["scores"][-1] == pytest.approx(np.log(9), abs=0.2)
        assert walk["target_name"] == walk["exclusive_classes"][1 - best]
        named = [*words[:-3], "--out", tmp_path / f"named{number}", "--no-trust", "--target", f"class:{best}"]
        _, walk = json.loads(run(capsys, *named)[1])["results"]
        assert walk["record"]["target"] == f"class:{best}"  # what is named is what is asked
    assert predicted == {0, 1}


def test_the_other_answer_is_the_runner_up_of_more_and_absence_of_one() -> None:
    def three(images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[0.2, 3.0, 1.0]]).expand(len(images), 3)

    def one(images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 1), 2.0)

    image = Image(np.ones((1, 8, 8), np.float32))
    walk = LatentWalk(goal=0.9)
    several = face.load_predictor(three, output="logits")
    assert str(method_and_target(walk, Plan(predictor=several, methods=()), image)[1]) == "class:2"
    single = face.load_predictor(one, output="sigmoid")
    explainer, target = method_and_target(walk, Plan(predictor=single, methods=()), image)
    assert str(target) == "class:0" and explainer.goal == pytest.approx(0.1)
    plain = Plan(predictor=several, methods=())
    assert (
        str(method_and_target(LatentWalk(), plain, image)[1]) == "class:1"
    )  # no goal: away from what is predicted
    assert str(method_and_target(GradCAM(), plain, image)[1]) == "class:1"


def test_labels_of_images_are_stored_and_names_without_a_row_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from contrafact.io.run_cohort import stored_cohort
    from contrafact.phantoms import draw_factors, knee_phantom

    rng = np.random.default_rng(0)
    for number in (1, 2):
        np.save(tmp_path / f"knee{number}.npy", knee_phantom(draw_factors(rng), rng).image.values)
    (tmp_path / "labels.csv").write_text("path,label,sex\nknee1,1,f\nother,0,m\n")
    images = [str(tmp_path / f"knee{number}.npy") for number in (1, 2)]
    ask = ["explain", *images, "--bundle", "phantom", "--methods", "gradcam", "--no-trust",
           "--target", "class:1", "--out", str(tmp_path / "run")]  # fmt: skip
    assert main([*ask, "--cohort", str(tmp_path / "labels.csv")]) == 0
    said = capsys.readouterr().err
    assert said.count("'labels.csv' has no row for 1 of 2 images (knee2.npy)") == 1
    found = stored_cohort(open_run(tmp_path / "run")).find(images[0])
    assert found is not None and (found.label, found.extra) == ("1", {"sex": "f"})
    assert main([*ask, "--labels", str(tmp_path / "labels.csv")]) == 2
    assert "give labels of images as --cohort" in capsys.readouterr().err


def test_a_label_map_of_each_image_tells_the_share_of_the_change_inside(tmp_path: Path) -> None:
    from contrafact.phantoms import draw_factors, knee_phantom

    rng, images = np.random.default_rng(0), [str(tmp_path / f"knee{number}.npy") for number in (1, 2)]
    (tmp_path / "masks").mkdir()
    for number, path in enumerate(images, 1):
        np.save(path, knee_phantom(draw_factors(rng), rng).image.values)
        marked = np.zeros((1, 32, 32), np.float32)
        marked[:, : 32 if number == 1 else 1] = 1  # all, and a line at the edge
        np.save(tmp_path / "masks" / f"knee{number}.npy", marked)
    ask = ["explain", *images, "--bundle", "phantom", "--methods", "counterfactual", "--no-trust",
           "--target", "class:1", "--labels", str(tmp_path / "masks" / "{stem}.npy"),
           "--names", "1=knee", "--out", str(tmp_path / "run")]  # fmt: skip
    assert main(ask) == 0
    rows = open_run(tmp_path / "run").rows()
    first, second = (row["change_inside"] for row in rows)
    assert first == 1 and second < 0.2
    assert [row["change_places"] for row in rows] == [{"knee": first}, {"knee": second}]
    assert "of the image, mainly the knee (100 % of the change)." in sentence(rows[0], 0.5)
