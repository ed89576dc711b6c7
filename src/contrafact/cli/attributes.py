"""`contrafact attributes`"""

from __future__ import annotations

import contextlib
import dataclasses
import json as json_lines
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from contrafact.cli.progress import say
from contrafact.cli.trust_flags import TrustCode, TrustFile

Flag = Annotated[bool, Parameter(negative="")]
SHARES = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of a move, the columns of a strip
PATIENTS = 4  # rows of a strip
SYNTHETIC = (
    "synthetic patients (rows) with one style moved against and along the score (columns; middle: unmoved)"
)


def attributes(
    bundle: str,
    *,
    model: str | None = None,
    target: str = "class:1",
    count: int = 8,
    images: int = 48,
    seed: int = 0,
    out: Path = Path("attributes"),
    run: Path | None = None,
    trust: TrustFile = False,
    trust_code: TrustCode = False,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    """Rank the attributes of a bundle's generator: what it can generate that changes the model's prediction.

    Writes attributes.json and a picture of each attribute into a folder. Look at the pictures and name each, in
    the file or on the page of a run; names are kept when the command runs again with the same bundle, model and
    target, and no other run overwrites them.
    Example: `contrafact attributes phantom --count 4 --run runs/demo`

    Args:
        bundle: A shipped bundle by name, or a folder, with a StyleGAN2 or medXGAN.
        model: A predictor of the bundle, by name; default: the one that its latent space was fitted to.
        target: What of the prediction the attributes change.
        count: Number of attributes.
        images: Number of sampled patients that choose the attributes; as many others measure them again.
        seed: Seed of the samples.
        out: Folder for the results.
        run: Run folder that keeps them instead; its report and its pages show them.
        trust: Load TorchScript files, which are code that runs on this machine (docs/security.md).
        trust_code: Import and call the factory of a model description from any package.
        quiet: Print nothing.
        json: Print the result as JSON.
    """
    from contrafact.api.case import target_name
    from contrafact.cli.arguments import pick_bundle, pick_predictor
    from contrafact.core import Trust
    from contrafact.counterfactual import find_attributes
    from contrafact.io.attribute_folder import kept_names, write_attributes

    trusted = Trust(trust, trust_code)
    loaded = pick_bundle(bundle, trusted).for_latent_space()
    predictor = pick_predictor(model, loaded, trusted)
    asked = predictor.target(target)
    own = next((name for name, known in loaded.predictors.items() if known.digest == predictor.digest), "")
    about = {
        "bundle": loaded.name,
        "generator": loaded.generator_digest,
        "model": predictor.digest,
        "target": str(asked),
        "images": images,
        "seed": seed,
    }
    shown = {"model_name": own or predictor.digest, "target_name": target_name(predictor, str(asked))}
    with _shown_by(run, f"{loaded.name}-{own or predictor.digest}-{asked}", out) as folder:
        kept_names(folder, about)  # refused before the work
        found = find_attributes(loaded, predictor, asked, count=count, images=images, seed=seed)
        words = f"{SYNTHETIC}; {json_lines.dumps(about)}"
        strips = [_strip(loaded, attribute, seed, words) for attribute in found]
        rows = write_attributes(folder, {**about, **shown}, [dataclasses.asdict(a) for a in found], strips)
    if not quiet:
        say({**about, "attributes": rows}, as_json=json, lines=_lines(rows, folder))


@contextlib.contextmanager
def _shown_by(run: Path | None, name: str, out: Path) -> Iterator[Path]:
    """Yield the folder of the results: of a run, whose report is written anew after the block, or `out`."""
    from contrafact.io import open_run
    from contrafact.report.page import write_report

    if run is None:
        yield out
        return
    opened = open_run(run)
    yield opened.folder / "attributes" / re.sub(r"[^\w.-]+", "-", name)
    if opened.rows():
        write_report(opened)


def _lines(rows: list[dict[str, Any]], out: Path) -> list[str]:
    lines = [f"{'attribute':<12} {'effect (95 %)':<24} {'again':>7} {'second':>7} {'flips':>6}  name"]
    for row in rows:
        second = "–" if row["second"] is None else f"{row['second']:+.2f}"
        interval = "{:+.2f} ({:+.2f} to {:+.2f})".format(row["effect"], *row["interval"])
        place = f"{row['layer']}.{row['coordinate']}"
        flips = "–" if row["flips"] is None else f"{row['flips']:.0%}"
        figures = f"{row['again']:>+7.2f} {second:>7} {flips:>6}"
        lines.append(f"{place:<12} {interval:<24} {figures}  {row['name'] or '–'}")
    lines.append(
        "effect: change of the score by three standard deviations of one style; again: on other samples;"
    )
    lines.append("second: of the second model; flips: share of samples whose prediction changes")
    return [*lines, f"pictures and attributes.json, for names: {out}"]


def _strip(bundle: Any, attribute: Any, seed: int, words: str) -> bytes:
    """Return a PNG of sampled patients (rows) at shares of a move (columns), described as synthetic."""
    import numpy as np
    import torch

    from contrafact.counterfactual.attributes import TRUNCATION, frames_of
    from contrafact.render.captions import described_png

    rng = torch.Generator().manual_seed(seed + 1)
    latents = bundle.latent.generator.sample(PATIENTS, rng, psi=TRUNCATION)
    frames = frames_of(bundle, attribute, latents, SHARES).cpu().numpy()
    if frames.ndim == 6:  # volumes: the middle slice
        frames = frames[:, :, :, frames.shape[3] // 2]
    low, high = bundle.window
    values = ((frames - low) / (high - low)).clip(0, 1)[:, :, : 3 if frames.shape[2] >= 3 else 1]
    n, k, c, h, w = values.shape
    grid = values.transpose(0, 3, 1, 4, 2).reshape(n * h, k * w, c)
    by = max(1, round(128 / w))
    pixels = np.round(255 * grid.repeat(by, axis=0).repeat(by, axis=1)).astype(np.uint8)
    return described_png(pixels if c == 3 else pixels[..., 0], words)
