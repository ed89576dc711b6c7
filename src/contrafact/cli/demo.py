"""`contrafact demo`"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from contrafact.cli.progress import bar, say
from contrafact.cli.trust_flags import CHECKS

Flag = Annotated[bool, Parameter(negative="")]


def demo(
    *,
    out: Path = Path("runs/demo"),
    images: list[Path] | None = None,
    cases: int = 4,
    seed: int = 0,
    checks: Annotated[bool, CHECKS] = True,
    json: Flag = False,
) -> None:
    """Explain example cases with the shipped models and write a report.

    The demo generates synthetic patients from the `knee` bundle, and phantoms with a known cause; no patient's
    image ships. Example: `contrafact demo --images my_knee.png`

    Args:
        out: Run folder; an earlier demo in it is replaced.
        images: Your own knee radiographs instead of synthetic patients.
        cases: Number of synthetic patients; of phantoms half as many for each model.
        seed: Seed of the synthetic patients.
        checks: Add reliability checks to each result.
        json: Print the result as JSON.
    """
    from contrafact.api.case import explain_case
    from contrafact.cli.demo_cases import clear_demo, demo_cases
    from contrafact.io import Run
    from contrafact.io.lock import sole_writer
    from contrafact.report.page import write_report

    began = time.perf_counter()
    planned, cards = demo_cases(images or [], cases, seed)
    clear_demo(out)
    run = Run.create(out, about={"title": "How the models decide", "demo": True, "bundles": cards})
    with sole_writer(out), bar("explaining", len(planned), quiet=json) as move:
        for number, (name, image, plan) in enumerate(planned):
            explain_case(run, name, image, dataclasses.replace(plan, trust=checks))
            move(number + 1)
    report = write_report(run)
    seconds = round(time.perf_counter() - began, 1)
    say(
        {"report": str(report), "cases": len(planned), "seconds": seconds},
        as_json=json,
        lines=[f"{len(planned)} cases explained in {seconds} s", f"report: {report.resolve()}"],
    )
