"""`contrafact fit`"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from contrafact.cli.progress import bar, gentle_stop, say
from contrafact.cli.trust_flags import TrustCode, TrustFile

MACHINE = Parameter(group=Group("The machine", sort_key=2))
Flag = Annotated[bool, Parameter(negative="")]


def fit(
    config: Path,
    *,
    stage: str | None = None,
    resume: Flag = False,
    device: Annotated[str | None, MACHINE] = None,
    devices: Annotated[int, MACHINE] = 1,
    plan: Flag = False,
    trust: TrustFile = False,
    trust_code: TrustCode = False,
    json: Flag = False,
) -> None:
    """Train a bundle on a folder of images: generator, encoder, directions.

    Samples of what was learnt are written to samples.png at each report, and shown where the terminal can.
    Ctrl-C stops after the current step; `--resume` continues with exactly the same next step.
    Example: `contrafact fit fit.toml --plan`, then without `--plan` (docs/how-to/fit.md)

    Args:
        config: TOML file (docs/reference/fit.md: every setting).
        stage: generator, encoder or direction; default: all.
        resume: Continue the training in the output folder.
        device: cpu or cuda; default: cuda where available.
        devices: Number of processes, one per GPU (or per share of the CPU), by Lightning Fabric.
        plan: Time a few steps on this machine and say what the fit will cost; nothing is written.
        trust: Load TorchScript files, which are code that runs on this machine (docs/security.md).
        trust_code: Import and call the factory of a model description from any package.
        json: Print the last losses and quality measures as JSON.
    """
    from contrafact.bundles.fitting import fit_stages, read_config
    from contrafact.cli.terminal_pictures import told_of
    from contrafact.core import InputError
    from contrafact.io.lock import sole_writer

    if plan:
        without = {"--stage": stage, "--resume": resume, "--devices": devices != 1}
        for name in (name for name, value in without.items() if value):
            raise InputError(f"{name} does not go with --plan, which times a new fit in one process")
        _say_plan(config, device, trust=trust, trust_code=trust_code, json=json)
        return
    _, out = read_config(config)
    last, stopped = {}, False
    first = os.environ.get("LOCAL_RANK", "0") == "0"  # of several processes, the first one holds the folder
    lock = sole_writer(out) if first else contextlib.nullcontext()
    samples = told_of(out / "samples.png", first and sys.stderr.isatty() and not json)
    with lock, gentle_stop() as stop, bar("reading images", 1, quiet=json) as move:
        for name, progress in fit_stages(
            config,
            stage=stage,
            resume=resume,
            stop=stop,
            device=device,
            devices=devices,
            trust=trust,
            trust_code=trust_code,
        ):
            text = " ".join(f"{k} {v:.3g}" for k, v in (progress.quality or progress.figures).items())
            shown = samples(progress.done >= progress.total) if first and name == "generator" else ""
            move(progress.done, text=f"{name}: {text}"[:100], total=progress.total, above=shown)
            last[name] = {**progress.figures, **progress.quality, "done": progress.done}
            for finding in progress.findings:
                move(progress.done, text=f"{name}: {finding}")
        stopped = stop()
    if stopped:
        raise KeyboardInterrupt
    if not last:
        return  # only the first of several processes reports
    bundle = out / "bundle"
    lines = [f"written to {out}"]
    if (bundle / "bundle.json").exists():
        lines.append(f"explain with it: contrafact explain IMAGE --bundle {shlex.quote(str(bundle))}")
    say({"out": str(out), "bundle": str(bundle), "stages": last}, as_json=json, lines=lines)


def _say_plan(config: Path, device: str | None, *, trust: bool, trust_code: bool, json: bool) -> None:
    """Print what a fit costs."""
    from contrafact.bundles.fit_plan import plan_fit

    plan = plan_fit(config, device=device, trust=trust, trust_code=trust_code)
    lines = [
        f"{plan.family} of {' x '.join(map(str, plan.shape))} on {plan.device}, from {plan.images} images",
        f"reading the images: about {_duration(plan.reading_seconds)}",
    ]
    lines += [
        f"{s.name}: {s.steps} steps of {s.step_seconds:.3g} s: about {_duration(s.seconds)}"
        for s in plan.stages
    ]
    lines += ["direction: not timed, usually minutes"] if len(plan.stages) > 1 else []
    memory = "not known on this system" if plan.memory is None else f"about {plan.memory / 1e9:.1f} GB"
    lines += [f"memory: {memory}", f"disk: about {math.ceil(plan.disk / 1e6)} MB", *plan.remarks]
    lines += ["timed without reports and on this machine as busy as it is now; nothing was written"]
    about = dataclasses.asdict(plan)
    about["stages"] = [dataclasses.asdict(s) | {"seconds": s.seconds} for s in plan.stages]
    say(about, as_json=json, lines=lines)


def _duration(seconds: float) -> str:
    """Return a duration in the unit that fits."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    whole = math.ceil(seconds)
    return f"{whole} second{'s' * (whole != 1)}"
