"""Ask what would have to change for a lung nodule to be segmented, not to be, or to be half as large.

    python -m experiments.evaluate.segmenter_counterfactuals --data ../shared/data --page FILE --picture FILE

Windows of val patients, one a patient and question. The bundle `nodule` holds a segmenter (U-Net); its
translator changes the window by the classifier's score until the segmenter's answer in a fixed place, or its
volume, meets the goal. What came of it is measured by the second segmenter (SegResNet), which took part in
nothing, and by the readers' masks. Beside the change: maps of the same segmenter and place. With
`--method latent-shift --latent RUNS/nodule_medxgan/bundle` the same is asked of a latent space.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import contrafact as cf
from contrafact.core import ContrafactError, Counterfactual, Image
from contrafact.counterfactual import Bundle
from experiments.evaluate.anatomy import near
from experiments.evaluate.engines import with_latent
from experiments.evaluate.known_truth import judged
from experiments.evaluate.nodules import iou, readers_iou, strongest
from experiments.evaluate.picture_sheet import sheet
from experiments.evaluate.real_truth import Case, case_of
from experiments.nodule_windows import NoduleWindow, nodule_windows
from experiments.tables import mean, ratio, share, table

Values = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
MAPS: dict[str, dict[str, Any]] = {
    "gradcam": {},
    "kernel-shap": {"samples": 200},
    "occlusion": {"stride": 4},
    "integrated-gradients": {},
}


@dataclass(frozen=True)
class Asked:
    """A question to the segmenter about a window, with its answer; the areas that it and the second segmenter
    mark, before and after."""

    case: Case
    window: NoduleWindow
    strip: Counterfactual
    own: tuple[int, int]
    second: tuple[int, int]


def masks(segmenter: Any, frames: Values) -> NDArray[np.bool_]:
    """The masks (N, H, W) that a segmenter predicts for frames (N, 1, H, W)."""
    with segmenter.frozen(), torch.no_grad():
        return np.asarray(torch.as_tensor(segmenter(frames)).argmax(dim=1).cpu().numpy() == 1)


def one_a_patient(
    windows: list[NoduleWindow], fits: Callable[[NoduleWindow, Case], bool], count: int
) -> Iterator[tuple[NoduleWindow, Case]]:
    """Windows of different patients that fit, in a fixed random order."""
    taken: set[str] = set()
    for row in np.random.default_rng(5).permutation(len(windows)).tolist():
        window = windows[row]
        if len(taken) < count and window.patient not in taken and fits(window, case := case_of(window)):
            taken.add(window.patient)
            yield window, case


class Questions:
    """The questions, each to the windows for which it has a sense."""

    def __init__(
        self, bundle: Bundle, windows: list[NoduleWindow], count: int, *, method: str = "counterfactual"
    ) -> None:
        self.bundle, self.windows, self.count, self.method = bundle, windows, count, method
        self.segmenter = bundle.predictors["segmenter"]
        self.second = bundle.second_model(self.segmenter)

    def seen(self, case: Case, by: Any) -> Mask:
        return np.asarray(masks(by, case.image.values[None])[0])

    def all(self) -> dict[str, list[Asked]]:
        """Every question with its answers."""

        def found(window: NoduleWindow, case: Case) -> bool:
            both = [self.seen(case, by) for by in (self.segmenter, self.second)]
            return window.nodule and all(bool((mask & case.truth).any()) for mask in both)

        def missed(window: NoduleWindow, case: Case) -> bool:
            return window.nodule and case.truth.any() and not self.seen(case, self.segmenter).any()

        def invented(window: NoduleWindow, case: Case) -> bool:
            return not window.nodule and self.seen(case, self.segmenter).sum() > 8

        return {
            "the nodule is not segmented": self.answers(found, "lesion:1", 0.1),
            "it is half as large": self.answers(found, "volume:1", None),
            "a missed nodule is segmented": self.answers(missed, "missed:1", 0.9),
            "a false positive is gone": self.answers(invented, "false-positive:1", 0.1),
        }

    def answers(
        self, fits: Callable[[NoduleWindow, Case], bool], target: str, goal: float | None
    ) -> list[Asked]:
        found = []
        for window, case in one_a_patient(self.windows, fits, self.count):
            wanted = goal if goal is not None else self.volume(case.image) / 2
            reference = case.truth if target.startswith(("missed", "false")) else None
            try:
                strip = cf.explain(
                    self.method,
                    self.segmenter,
                    case.image,
                    target=target,
                    bundle=self.bundle,
                    goal=wanted,
                    reference=reference,
                )
            except ContrafactError as error:
                print(f"{window.name}: {error}", flush=True)
                continue
            ends = np.stack([strip.frames[strip.origin], strip.frames[strip.end]])
            areas = [masks(by, ends).sum(axis=(1, 2)).tolist() for by in (self.segmenter, self.second)]
            found.append(Asked(case, window, strip, tuple(areas[0]), tuple(areas[1])))
        return found

    def volume(self, image: Image) -> float:
        """The soft volume in pixels that the segmenter measures."""
        with self.segmenter.frozen(), torch.no_grad():
            measure = self.segmenter.target("volume:1").freeze(self.segmenter, image.values[None])
            return float(measure(self.segmenter(image.values[None]))[0])


def changed(one: Asked) -> Values:
    return np.asarray(np.abs(one.strip.frames[one.strip.end] - one.strip.frames[one.strip.origin]).mean(axis=0))


def met(one: Asked) -> bool:
    return one.strip.outcome in ("reached", "already")


def row_of(name: str, asked: list[Asked]) -> list[str]:
    """A row of the table of questions."""
    if not asked:
        return [name, "0", *["–"] * (len(QUESTIONS) - 2)]
    flips = [one.strip.flips for one in asked]
    confirmed = [bool(one.strip.confirmed) for one in asked if one.strip.flips and one.strip.second is not None]
    areas = [np.array([getattr(one, who) for one in asked], dtype=float).T for who in ("own", "second")]
    marked = [one for one in asked if one.case.truth.any()]
    inside = [
        float(changed(one)[near(one.case.truth, 3)].sum() / max(changed(one).sum(), 1e-6)) for one in marked
    ]
    own = [iou(strongest(changed(one), int(one.case.truth.sum())), one.case.truth) for one in marked]
    readers = [readers_iou(one.window) or np.nan for one in marked]
    known = np.isfinite(readers)
    return [
        name,
        str(len(asked)),
        share([met(one) for one in asked]),
        share(flips) if any(flips) else "–",
        share(confirmed) if confirmed else "–",
        *(ratio(after, before) if before.any() else "–" for before, after in areas),
        mean(inside) if inside else "–",
        ratio(np.array(own)[known], np.array(readers)[known]) if known.any() else "–",
    ]


def maps_of(questions: Questions, asked: list[Asked], background: list[Image]) -> dict[str, list[Values]]:
    """Maps of the segmenter's lesion beside the change, by name."""
    found: dict[str, list[Values]] = {"the change of the counterfactual": [changed(one) for one in asked]}
    for name, settings in MAPS.items():
        found[name] = [
            np.nan_to_num(
                np.asarray(
                    cf.explain(
                        name,
                        questions.segmenter,
                        one.case.image,
                        target="lesion:1",
                        background=background,
                        **settings,
                    ).values
                )
            )
            for one in asked
        ]
    return found


def map_rows(found: dict[str, list[Values]], asked: list[Asked]) -> list[list[str]]:
    """How far the maps and the change meet the readers' consensus, as shares of two readers' IoU."""
    readers = np.array([readers_iou(one.window) or np.nan for one in asked])
    known, rows = np.isfinite(readers), []
    for name, maps in found.items():
        scores = np.array([judged(one, each.case.truth) for one, each in zip(maps, asked, strict=True)])
        rows.append(
            [
                name,
                mean(scores[:, 2]),
                mean(scores[:, 1]),
                mean(scores[:, 0]),
                ratio(scores[known, 2], readers[known]),
            ]
        )
    return rows


def picture(asked: dict[str, list[Asked]], questions: Questions, path: Path, count: int = 4) -> None:
    """The first windows of each question: before with the segmenter's mask, after with it, the difference."""
    blocks = dict[str, list[list[NDArray[np.uint8]]]]()
    for name, answers in asked.items():
        for one in answers[:count]:
            ends = np.stack([one.strip.frames[one.strip.origin], one.strip.frames[one.strip.end]])
            drawn = [
                _drawn(frame[0], mask)
                for frame, mask in zip(ends, masks(questions.segmenter, ends), strict=True)
            ]
            also = [
                _drawn(frame[0], mask) for frame, mask in zip(ends, masks(questions.second, ends), strict=True)
            ]
            difference = _drawn(np.clip(127.5 + ends[1][0] - ends[0][0], 0, 255), np.zeros_like(one.case.truth))
            truth = _drawn(ends[0][0], one.case.truth)
            blocks.setdefault(name, []).append([truth, *drawn, difference, *also])
    sheet(blocks, COLUMNS, path, made=(2, 3, 5))


def _drawn(values: Values, mask: Mask, scale: int = 3) -> NDArray[np.uint8]:
    """Grey values (H, W) with the outline of a mask, enlarged."""
    from scipy.ndimage import binary_erosion

    grey = np.kron(np.clip(values, 0, 255).astype(np.uint8), np.ones((scale, scale), np.uint8))
    large_mask = np.kron(mask, np.ones((scale, scale))).astype(bool)
    colours = np.repeat(grey[..., None], 3, axis=2)
    colours[large_mask & ~binary_erosion(large_mask)] = (255, 160, 0)
    return colours


COLUMNS = [
    "what the readers marked",
    "before, the U-Net's mask",
    "after, the U-Net's mask",
    "difference",
    "before, the SegResNet's mask",
    "after, the SegResNet's mask",
]
QUESTIONS = [
    "question",
    "patients",
    "goal reached",
    "the segmenter's answer turns round",
    "and so does the second segmenter's",
    "area that it marks, after as a share of before",
    "the same of the second segmenter",
    "change within 3 px of the readers' consensus",
    "IoU of the change with it, as a share of the readers'",
]
PLACES = ["map of `lesion:1`", "IoU", "relevance mass", "pointing game", "IoU as a share of the readers'"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", default="nodule")
    parser.add_argument("--latent", type=Path, help="a bundle with a latent space of the same images")
    parser.add_argument("--method", default="counterfactual", help="latent-shift needs --latent")
    parser.add_argument("--part", default="val", choices=["val", "choice"])
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    windows = nodule_windows(options.data, options.part)
    bundle = cf.load_bundle(options.bundle)
    bundle = with_latent(bundle, options.latent) if options.latent else bundle
    questions = Questions(bundle, windows, options.images, method=options.method)
    asked = questions.all()
    text = table(QUESTIONS, [row_of(name, answers) for name, answers in asked.items()])
    removed = asked["the nodule is not segmented"]
    none = [case_of(w).image for w in nodule_windows(options.data, "choice") if not w.nodule][:32]
    text += "\n" + table(PLACES, map_rows(maps_of(questions, removed, none), removed))
    print(text)
    print(json.dumps({name: [one.strip.outcome for one in answers] for name, answers in asked.items()}))
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    if options.picture:
        picture(asked, questions, options.picture)


if __name__ == "__main__":
    main()
