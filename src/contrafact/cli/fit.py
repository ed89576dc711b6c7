"""`contrafact fit`"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from contrafact.cli.progress import bar, gentle_stop, say
from contrafact.cli.trust_flags import TrustCode, TrustFile

Flag = Annotated[bool, Parameter(negative="")]


def fit(
    config: Path,
    *,
    stage: str | None = None,
    resume: Flag = False,
    device: str | None = None,
    devices: int = 1,
    trust: TrustFile = False,
    trust_code: TrustCode = False,
    json: Flag = False,
) -> None:
    """Train a bundle on a folder of images: generator, encoder, directions.

    Ctrl-C stops after the current step; `--resume` continues with exactly the same next step.
    Example: `contrafact fit experiments/train/knee.toml --resume`

    Args:
        config: TOML file, such as experiments/train/knee.toml.
        stage: generator, encoder or direction; default: all.
        resume: Continue the training in the output folder.
        device: cpu or cuda; default: cuda where available.
        devices: Number of processes, one per GPU (or per share of the CPU), by Lightning Fabric.
        trust: Load TorchScript files, which are code that runs on this machine (docs/security.md).
        trust_code: Import and call the factory of a model description from any package.
        json: Print the last losses and quality measures as JSON.
    """
    from contrafact.bundles.fitting import fit_stages, read_config
    from contrafact.io.lock import sole_writer

    _, out = read_config(config)
    last, stopped = {}, False
    first = os.environ.get("LOCAL_RANK", "0") == "0"  # of several processes, the first one holds the folder
    lock = sole_writer(out) if first else contextlib.nullcontext()
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
            move(progress.done, text=f"{name}: {text}"[:100], total=progress.total)
            last[name] = {**progress.figures, **progress.quality, "done": progress.done}
            for finding in progress.findings:
                move(progress.done, text=f"{name}: {finding}")
        stopped = stop()
    if stopped:
        raise KeyboardInterrupt
    if not last:
        return  # only the first of several processes reports
    say({"out": str(out), "stages": last}, as_json=json, lines=[f"written to {out}"])
