"""`contrafact explain`"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from contrafact.cli.progress import bar, say
from contrafact.cli.trust_flags import CHECKS, TrustCode, TrustFile

Flag = Annotated[bool, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Options that choose the models.

    Args:
        model: A model file (.json, .onnx, .ts, .pt2), or a predictor of the bundle by name.
        output: Kind of the model's output: logits, sigmoid, probabilities, regression or ordinal; default: from
            its description, else logits.
        bundle: A shipped bundle by name (`contrafact list bundles`), or its folder.
        second_model: A model file, or a predictor of the bundle, that confirms or contradicts counterfactuals;
            default: the second model of the bundle.
        trust: Load TorchScript files, which are code that runs on this machine (docs/security.md).
        trust_code: Import and call the factory of a model description from any package.
    """

    model: str | None = None
    output: str | None = None
    bundle: str | None = None
    second_model: str | None = None
    trust: TrustFile = False
    trust_code: TrustCode = False


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Options that say what is asked of each image.

    Args:
        target: class:1, margin:3,1, region:2, lesion:2#1, … (`contrafact list targets`); default: the predicted
            class; for a counterfactual with --goal, the second most probable class.
        methods: Comma-separated names, or standard (the default: gradcam, integrated-gradients, occlusion
            and, with a bundle, its counterfactual engine), cams, gradients, without-gradients, pictures or all.
        goal: Probability that the counterfactual should reach: of the target, or, without --target, of the
            second most probable class. Default: the opposite side of the decision.
        set_: A hyper-parameter, METHOD.NAME=VALUE; may be repeated.
        seed: Seed of the methods' random numbers.
    """

    target: str | None = None
    methods: str = ""
    goal: float | None = None
    set_: Annotated[list[str] | None, Parameter(name="--set")] = None
    seed: int = 0


@Parameter(name="*")
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
        labels: Label map of regions (organs, lesion) on the image's grid, to describe heatmaps in words.
        names: Name of a label, NUMBER=NAME (1=lesion); may be repeated.
        largest_image: How many values an image file may declare (docs/formats.md).
    """

    reference: Path | None = None
    only: Annotated[Path | None, Parameter(name=("--only", "--region"))] = None
    keep: Path | None = None
    background: Path | None = None
    followup: list[Path] | None = None
    cases: Path | None = None
    labels: Path | None = None
    names: list[str] | None = None
    largest_image: int | None = None


def explain(
    images: list[Path],
    *,
    models: Models = Models(),
    questions: Questions = Questions(),
    files: Files = Files(),
    out: Path = Path("runs/explain"),
    rescale: Flag = False,
    checks: Annotated[bool, CHECKS] = True,
    json: Flag = False,
) -> None:
    """Explain a model's predictions for images and write a run folder with a report.

    Example: `contrafact explain knee.png --bundle knee --target class:1 --goal 0.9`

    Args:
        images: Files (docs/formats.md) or DICOM series folders.
        models: Options that choose the models.
        questions: Options that say what is asked of each image.
        files: Files beside the images, and how large a file may be.
        out: Run folder; an existing run is continued.
        rescale: Rescale each image's display window to the range of the bundle.
        checks: Add reliability checks to each result, at the cost of a few more explanations.
        json: Print the results as JSON.
    """
    from contrafact.api.case import explain_case
    from contrafact.cli.arguments import plan_of, read_images, with_cases, with_checks, with_masks, with_places
    from contrafact.core import Trust
    from contrafact.io import Run, set_largest_image
    from contrafact.io.lock import sole_writer
    from contrafact.report.page import write_report

    if files.largest_image is not None:
        set_largest_image(files.largest_image)
    trusted = Trust(models.trust, models.trust_code)
    plan, about = plan_of(
        models.model,
        models.bundle,
        target=questions.target,
        methods=questions.methods,
        goal=questions.goal,
        output=models.output,
        set_=questions.set_ or [],
        seed=questions.seed,
        trust=trusted,
    )
    plan = with_masks(
        plan, reference=files.reference, only=files.only, keep=files.keep, background=files.background
    )
    plan = with_checks(with_places(plan, files.labels, files.names), checks, models.second_model, trusted)
    plan = with_cases(plan, files.cases, rescale)
    cases = read_images(images, plan.bundle if rescale else None)
    dated = list(read_images(files.followup or [], plan.bundle if rescale else None))
    first = list(itertools.islice(cases, 1))  # a first image that is unreadable leaves no run
    run = Run.create(out, about={"title": "Explanation", **about})
    with sole_writer(out), bar("explaining", len(images), quiet=json) as move:
        for number, image in enumerate(itertools.chain(first, cases)):
            name = f"{number + 1}. {Path(image.source).name}"
            explain_case(run, name, image, plan, followup=dated)
            move(number + 1)
    report = write_report(run)
    say(
        {"run": str(out), "report": str(report), "results": run.rows()},
        as_json=json,
        lines=[f"report: {report}"],
    )
