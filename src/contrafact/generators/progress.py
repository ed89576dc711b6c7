"""Progress of a training, as its loop reports it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a training.

    done, total     in units of the work (images, steps)
    seconds_left    estimate from the mean speed since the start or the last resume
    figures         losses and rates of the last step
    quality         KID and Fréchet distance, where this report measures them
    findings        problems found by `TrainingMonitor`, as sentences
    """

    done: float
    total: float
    seconds_left: float
    figures: dict[str, float] = field(default_factory=dict)
    quality: dict[str, float] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
