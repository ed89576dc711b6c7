"""`contrafact explain`"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from contrafact.cli.model_options import MODELS, Declared
from contrafact.cli.progress import bar, say
from contrafact.cli.trust_flags import CHECKS, TrustCode, TrustFile

if TYPE_CHECKING:
    from contrafact.api.case import Plan
    from contrafact.cli.each_image import Outcomes
    from contrafact.core import Image
    from contrafact.io import Run

QUESTIONS = Group("Questions", sort_key=2)
FILES = Group("Files beside the images", sort_key=3)
RESULTS = Group("Results", sort_key=4)
Flag = Annotated[bool, Parameter(negative="", group=RESULTS)]


@Parameter(name="*", group=MODELS)
@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Options that choose the models.

    Args:
        model: A model file, folder, name with weights or address (docs/how-to/your-model.md), or a predictor of
            the bundle by name.
        bundle: A shipped bundle by name (`contrafact list bundles`), or its folder.
        second_model: A model file, or a predictor of the bundle, that confirms or contradicts counterfactuals;
            default: the second model of the bundle.
        trust: Load TorchScript files, which are code that runs on this machine (docs/security.md).
        trust_code: Import and call the factory of a model description from any package.
    """

    model: str | None = None
    bundle: str | None = None
    second_model: str | None = None
    trust: TrustFile = False
    trust_code: TrustCode = False


@Parameter(name="*", group=QUESTIONS)
@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Options that say what is asked of each image.

    Args:
        target: class:1, margin:3,1, region:2, lesion:2#1, similarity:FILE, … (`contrafact list targets`);
            default: the predicted class; for a counterfactual with --goal, the second most probable class.
        methods: Comma-separated names, or standard (the default: gradcam, integrated-gradients, occlusion
            and, with a bundle, its counterfactual engine), cams, gradients, without-gradients, pictures or all.
        goal: Probability that the counterfactual should reach: of the target, or, without --target, of the
            second most probable class; of volume:1 voxels. Default: the opposite side of the decision.
        set_: A hyper-parameter, METHOD.NAME=VALUE; may be repeated.
        seed: Seed of the methods' random numbers.
    """

    target: str | None = None
    methods: str = ""
    goal: float | None = None
    set_: Annotated[list[str] | None, Parameter(name="--set")] = None
    seed: int = 0


@Parameter(name="*", group=FILES)
@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Files beside the images, and how large a file may be.

    Args:
        reference: A mask on the image's grid, for targets that compare with one (missed:1).
        only: A mask on the image's grid: maps are limited to it, and counterfactuals change it alone.
        keep: A mask of 0 and 1 on the image's grid: its voxels stay as they are.
        background: A folder of other images of the same kind (expected-gradients, feature-permutation).
        followup: Later images of the same patient, shown next to the counterfactual.
        cases: A folder of real images, or a cohort's CSV: the nearest to each image that the model predicts on
            the other side of the decision are shown next to the counterfactual.
        cohort: A CSV with the columns path (or the file's name, with or without its ending) and label; further
            columns (sex, site, age) are subgroups. The viewer then shows truth and prediction.
        labels: Label map of regions (organs, lesion) on the image's grid, to describe results in words and to
            count changes outside it; {stem} in its path stands for the image's name without its ending.
        names: Name of a label, NUMBER=NAME (1=lesion); may be repeated.
        largest_image: How many values an image file may declare (docs/formats.md).
    """

    reference: Path | None = None
    only: Annotated[Path | None, Parameter(name=("--only", "--region"))] = None
    keep: Path | None = None
    background: Path | None = None
    followup: list[Path] | None = None
    cases: Path | None = None
    cohort: Path | None = None
    labels: Path | None = None
    names: list[str] | None = None
    largest_image: int | None = None


def explain(
    images: list[Path],
    *,
    models: Models = Models(),
    declared: Declared = Declared(),
    questions: Questions = Questions(),
    files: Files = Files(),
    out: Annotated[Path, Parameter(group=RESULTS)] = Path("runs/explain"),
    rescale: Flag = False,
    checks: Annotated[bool, CHECKS, Parameter(group=RESULTS)] = True,
    show: Flag = False,
    json: Flag = False,
) -> None:
    """Explain a model's predictions for images and write a run folder with a report.

    Example: `contrafact explain knee.png --bundle knee --target class:1 --goal 0.9`

    It ends with a table, one row per image. An image that cannot be read or explained, and a method that cannot
    explain one, is named in one line; the others are done, and the exit code is 1.

    Args:
        images: Files (docs/formats.md), DICOM series folders, or folders of images: each is explained.
        models: Options that choose the models.
        declared: Options that describe the model.
        questions: Options that say what is asked of each image.
        files: Files beside the images, and how large a file may be.
        out: Run folder; an existing run is continued. Each result says by which model; the manifest tells of
            the first command, and of the bundles of all.
        rescale: Rescale each image's display window to the range of the bundle.
        checks: Add reliability checks to each result, at the cost of a few more explanations.
        show: Show a picture of each result below the table, where the terminal can (kitty, iTerm, sixel).
        json: Print the results as JSON.
    """
    from contrafact.api.case import explain_case
    from contrafact.cli.arguments import labelled, read_images, with_places
    from contrafact.cli.each_image import explain_each, image_paths, read_each
    from contrafact.core import ContrafactError, InputError
    from contrafact.io import Run, set_largest_image
    from contrafact.io.lock import sole_writer
    from contrafact.io.run_cohort import store_cohort

    if show and json:
        raise InputError("expected --show or --json; got both")
    if files.largest_image is not None:
        set_largest_image(files.largest_image)
    plan, about = _plan(models, declared, questions, files, checks=checks, rescale=rescale)
    paths, bundle = image_paths(images), plan.bundle if rescale else None
    known = labelled(files.cohort, paths)
    dated = list(read_images(files.followup or [], bundle))
    readable, pictures = read_each(paths, bundle)  # images of which none is readable leave no run
    run = Run.create(out, about={"title": "Explanation", **about}) if readable else Run(out)

    refused = list[tuple[Path, str]]()

    def told(path: Path, method: str, error: Exception) -> None:
        refused.append((path, method))
        print(f"contrafact: {path.name}: {method}: {error}", file=sys.stderr, flush=True)

    def explained(number: int, image: Image) -> list[str]:
        name = f"{number + 1}. {Path(image.source).name}"
        mine = with_places(plan, files.labels, files.names, image=paths[number])
        return explain_case(run, name, image, mine, followup=dated, failed=partial(told, paths[number]))

    held = sole_writer(out) if readable else contextlib.nullcontext()
    with held, bar("explaining", len(paths), quiet=json) as move:
        if known and readable:
            store_cohort(run, known)
        outcomes = explain_each(paths, explained, images=pictures, move=move)
    _say(run, outcomes, len(paths), json=json, show=show)
    if refused:
        methods = ", ".join(dict.fromkeys(method for _, method in refused))
        count = "1 result is" if len(refused) == 1 else f"{len(refused)} results are"
        raise ContrafactError(f"{count} missing, of {methods}; the others are in the report")


def _plan(
    models: Models, declared: Declared, questions: Questions, files: Files, *, checks: bool, rescale: bool
) -> tuple[Plan, dict[str, Any]]:
    """Return the plan of the options, and its description for the manifest."""
    from contrafact.cli.arguments import plan_of, with_cases, with_checks, with_masks, with_places
    from contrafact.core import Trust

    trusted = Trust(models.trust, models.trust_code)
    plan, about = plan_of(
        models.model,
        models.bundle,
        target=questions.target,
        methods=questions.methods,
        goal=questions.goal,
        told=declared.told(),
        set_=questions.set_ or [],
        seed=questions.seed,
        trust=trusted,
    )
    plan = with_masks(
        plan, reference=files.reference, only=files.only, keep=files.keep, background=files.background
    )
    plan = with_checks(with_places(plan, files.labels, files.names), checks, models.second_model, trusted)
    return with_cases(plan, files.cases, rescale), about


def _earlier(count: int) -> str:
    """Return what the report shows beside the results of this command, as the end of a line."""
    if not count:
        return ""
    these = "1 result" if count == 1 else f"{count} results"
    return f" (with {these} of earlier commands in this folder: --out FOLDER begins a new one)"


def _say(run: Run, outcomes: Outcomes, total: int, *, json: bool, show: bool) -> None:
    """Write the report, print the table, and raise if images failed: of a single image its own error."""
    from contrafact.cli.each_image import fault_line
    from contrafact.cli.summary import summary
    from contrafact.cli.terminal_pictures import pictures, shown
    from contrafact.core import ContrafactError
    from contrafact.report.page import write_report

    if total == len(outcomes.errors) == 1:
        raise outcomes.errors[0][1]
    failed = [{"image": str(path), "error": fault_line(path, error)} for path, error in outcomes.errors]
    if outcomes.keys:
        rows = {row["key"]: row for row in run.rows()}
        images = [(path, [rows[k] for k in keys if k in rows]) for path, keys in outcomes.keys]
        report = write_report(run)
        own = {row["key"]: row for _, mine in images for row in mine}
        results = {"run": str(run.folder), "report": str(report), "results": list(own.values())}
        lines = [*summary(images), f"report: {report}{_earlier(len(rows) - len(own))}"]
        say(results | {"failed": failed}, as_json=json, lines=lines)
        if show:
            named = ((path.name, mine) for path, mine in images)
            print(*shown(pictures(run, named)), sep="\n", flush=True)
    elif json:
        say({"run": None, "report": None, "results": [], "failed": failed}, as_json=True, lines=[])
    if failed:
        raise ContrafactError(f"{len(failed)} of {total} images could not be explained")
