"""`contrafact reader-study`"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from contrafact.cli.trust_flags import SERVER

if TYPE_CHECKING:
    from contrafact.viewer.reader_study.sessions import Design

DECIDE = Group("The task decide", sort_key=2)


@Parameter(name="*", group=DECIDE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """Options of the task decide.

    Args:
        arms: Comma-separated: none (the image alone), ai (and the model's prediction), explained (and heatmap
            and counterfactual of the run).
        design: crossover (every image once in every arm, one arm a session), parallel (every image in one arm),
            or sequential (every image in all arms, one directly after the other).
        washout: Days between two sessions of a reader; 0 for a rehearsal.
        labels: A cohort's CSV (path, label) with the true labels; default: those that a study stored.
        positive: Label that means the finding, comma-separated if several; default: the name or number of its
            class.
    """

    arms: str = "none,ai,explained"
    design: Literal["crossover", "parallel", "sequential"] = "crossover"
    washout: float = 28.0
    labels: Path | None = None
    positive: str | None = None


def reader_study(
    run: Path,
    *,
    task: Literal["real", "worse", "both", "decide"] = "both",
    template: Literal["schutte2021", "latentshift2021"] | None = None,
    judgements: int | None = None,
    question: str | None = None,
    decide: Annotated[Decide, Parameter(name="*")] = Decide(),
    seed: int = 0,
    host: Annotated[str, SERVER] = "127.0.0.1",
    port: Annotated[int, SERVER] = 0,
    out: Path | None = None,
    csv: Path | None = None,
) -> None:
    """Run a reader study in the browser: is an image real or synthetic, which of two is more severe, does an
    image show a finding.

    The command prints a link for readers and one for the results. Readers can pause and continue later.
    Example: `contrafact reader-study runs/demo --task worse`

    Args:
        run: Run folder with counterfactuals; for decide, of images with a true label.
        task: real (images of patients, never phantoms, against synthetic ones), worse (which of two
            synthetic images shows the more severe finding), both, or decide (does the image show the finding:
            without AI, with the model's prediction, and with its explanation).
        template: Task, question and design of a published study: schutte2021 (real or synthetic) or
            latentshift2021 (confidence in true and false positives before and after the explanation).
        judgements: Number of judgements per reader and task, of decide: of images; default: every image of the
            run once, of decide: as many images that the model predicts right as wrong.
        question: Question for pairs or for decide, where {finding} stands for the finding's name; default:
            "Which of the two images shows more severe FINDING?", "Does this image show FINDING?"
        decide: Options of the task decide.
        seed: Seed of the random order.
        host: Address of the server.
        port: Port of the server; default: any free port.
        out: File of the answers; default: reading.sqlite in the run folder.
        csv: Write the answers to this file, of decide their results to NAME-summary.csv beside it, judgements
            made in the viewer to NAME-judgements.csv, and start no server.
    """
    from contrafact.core import InputError
    from contrafact.io import open_run
    from contrafact.viewer import pages as serving

    if judgements is not None and judgements < 1:
        raise InputError(f"expected at least one judgement; got {judgements}")
    opened = open_run(run)
    about = _asked(task, template, question, decide)
    server, pages = serving.reading_parts()
    reading = pages.Reading(opened, judgements=judgements, seed=seed, path=out, **about)
    if csv:
        for name, path in serving.write_csv(reading, csv).items():
            print(f"{name}: {path}")
        return
    print("\n".join(serving.plan_of(reading)))
    place, tokens = server.bind(host, port), {role: server.new_token() for role in ("reader", "owner")}
    app = pages.make_reading_app(reading, **tokens, hosts=place.names, addresses=not place.loopback)

    def ready() -> None:
        print(f"for readers: {place.link(token=tokens['reader'])}")
        print(f"for results: {place.link('/results', tokens['owner'])}\nCtrl-C stops it", flush=True)

    server.serve(app, place, ready=ready)


def _asked(task: str, template: str | None, question: str | None, decide: Decide) -> dict[str, Any]:
    """Return tasks, question and design of the options, or of a template."""
    import dataclasses

    from contrafact.core import InputError
    from contrafact.viewer.reader_study.templates import TEMPLATES

    design = _design(decide)
    if template is None:
        return {
            "tasks": ("real", "worse") if task == "both" else (task,),
            "question": question,
            "design": design,
        }
    made = TEMPLATES[template]
    default = Decide()
    if task not in ("both", made.task) or (decide.arms, decide.design) != (default.arms, default.design):
        raise InputError(
            f"the template {template} sets the task ({made.task}), the arms and the design: leave out --task, "
            "--arms and --design"
        )
    own = dataclasses.replace(made.design, labels=design.labels, positive=design.positive)
    return {"tasks": (made.task,), "question": question or made.question, "design": own}


def _design(decide: Decide) -> Design:
    from contrafact.viewer.reader_study.sessions import Design

    return Design(
        arms=tuple(part.strip() for part in decide.arms.split(",")),
        kind=decide.design,
        washout=decide.washout,
        labels=decide.labels,
        positive=tuple(part.strip() for part in (decide.positive or "").split(",") if part.strip()),
    )
