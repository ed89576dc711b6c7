"""A run with labels whose figures are known by construction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from browsing import PASSED, heatmap, ramp, strip
from contrafact.core import Image
from contrafact.io import Case, Run
from contrafact.io.run_cohort import store_cohort

UP = np.arange(5.0) * 0.9 - 2  # from 12 % to 83 %
SECOND = {"name": "second model", "value": 1.0, "threshold": None, "sentence": "s."}


def labelled_run(folder: Path, patients: int = 20, *, names: tuple[str, str] = ("wide", "narrow")) -> Run:
    """Two images of every patient, the first predicted `names[0]` and the second `names[1]`.

    The first is labelled as it is predicted, the second too in even patients alone. Site A has the first half
    of the patients. Every counterfactual flips and is 10 grey levels brighter (second images: darker) in rows 0
    to 3; a second model confirms those of site A alone. The change lies inside the anatomy in even patients.
    The last image has neither label nor counterfactual.
    """
    run, known = Run.create(folder, about={"title": "Knees"}), dict[str, Case]()
    for number in range(2 * patients):
        patient, second = divmod(number, 2)
        site, name = "AB"[patient >= patients // 2], f"Case {number + 1}"
        image = Image(ramp(level=number), window=(0.0, 200.0), source=f"/data/knee{number + 1}.png")
        share = 88 if second else 12
        answers = [f"{names[0]} {100 - share} %", f"{names[1]} {share} %"]
        about: dict[str, Any] = {"case": name, "answers": answers, "target_name": names[1]}
        about |= {"exclusive_classes": list(names)}
        run.add(f"{name}/gradcam", image, heatmap(name), trust=[PASSED], **about)
        if number == 2 * patients - 1:
            continue
        frames = np.stack([image.values] * 5)
        frames[4, :, :4] += -10 if second else 10
        made = strip(name, frames=frames, scores=-UP if second else UP, goal=None)
        card = [PASSED, {**SECOND, "passed": site == "A"}]
        inside = 0.75 if patient % 2 == 0 else 0.25
        run.add(f"{name}/walk", image, made, trust=card, change_inside=inside, **about)
        label = names[1] if second and patient % 2 == 0 else names[0]
        extra = {"site": site, "age": str(30 + patient), "note": f"text {number}", "reader": "X"}
        known[image.source] = Case(path=Path(image.source), patient=f"p{patient}", label=label, extra=extra)
    store_cohort(run, known)
    return run
