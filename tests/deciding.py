"""A run whose images have true labels, and predictions of which some are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from browsing import heatmap, ramp, strip
from contrafact.core import Image
from contrafact.io import Run

FACTS = {"exclusive_classes": ["wide", "narrow"], "target_name": "narrow"}


def labelled_run(folder: Path, cases: int = 12, *, wrong: int = 4) -> tuple[Run, Path]:
    """Case 1, 2, ... with a map and a strip each, narrow and wide in turns; the first `wrong` predicted wrong.
    Return the run and a CSV of its labels."""
    run, lines = Run.create(folder, about={"title": "Knees"}), ["path,label"]
    for n in range(1, cases + 1):
        name, narrow = f"Case {n}", n % 2 == 1
        predicted = narrow != (n <= wrong)
        scores = np.arange(5.0) * 0.9 - 2 if not predicted else 2 - np.arange(5.0) * 0.9
        image = Image(ramp(level=n), window=(0.0, 200.0), source=f"/data/knee{n}.png")
        share = 100 / (1 + np.exp(-scores[0]))
        about: dict[str, Any] = {
            "case": name,
            "answers": [f"wide {100 - share:.0f} %", f"narrow {share:.0f} %"],
        }
        run.add(f"{name}/gradcam", image, heatmap(name, n), **about, **FACTS)
        run.add(f"{name}/walk", image, strip(name, scores=scores), **about, **FACTS)
        lines.append(f"knee{n}.png,{'narrow' if narrow else 'wide'}")
    table = folder.parent / "labels.csv"
    table.write_text("\n".join(lines) + "\n")
    return run, table
