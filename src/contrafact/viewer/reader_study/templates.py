"""Designs of published reader studies."""

from __future__ import annotations

from dataclasses import dataclass

from contrafact.viewer.reader_study.sessions import STANDARD, Design


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Task, question (with {finding} for the name of the finding) and design of a study."""

    task: str
    question: str | None = None
    design: Design = STANDARD


TEMPLATES = {
    # Schutte et al. 2021: is the image real or synthetic? Three radiologists were right in 58 %.
    "schutte2021": Template(task="real"),
    # Cohen et al. 2021 (latent shift): confidence in true and in false positives before and after the
    # explanation. Differs: readers also decide, so that a rating runs from "certainly not" to "certainly", and
    # before the explanation they see the prediction without a heatmap.
    "latentshift2021": Template(
        task="decide",
        question="The model predicts {finding}. Does this image show {finding}?",
        design=Design(arms=("ai", "explained"), kind="sequential", washout=0.0, predicted="positive"),
    ),
}
