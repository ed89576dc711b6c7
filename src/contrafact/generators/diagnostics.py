"""Detection of failures in the training of a GAN: NaN, mode collapse and overfitting."""

from __future__ import annotations

import math

import torch

from contrafact.generators.augmentation import signed
from contrafact.generators.distances import decoded
from contrafact.generators.medxgan_legacy import LegacyTraining
from contrafact.generators.medxgan_training import MedXGANTraining
from contrafact.generators.stylegan2_training import StyleGAN2Training

AnyTraining = StyleGAN2Training | MedXGANTraining | LegacyTraining


class TrainingMonitor:
    """Checks of one training run; `must_roll_back` says that the best state should be restored."""

    def __init__(self) -> None:
        self.must_roll_back = False
        self._saturated_reports = 0

    def step(self, training: AnyTraining) -> str | None:
        """Return a finding where a loss or penalty is not finite; call it after every step."""
        bad = [k for k, v in training.figures.items() if not math.isfinite(v)]
        if bad:
            self.must_roll_back = True
            return f"NaN: {', '.join(bad)} is not finite at {training.seen / 1000:.1f} kimg"
        return None

    def report(self, training: AnyTraining) -> list[str]:
        """Return findings of mode collapse and overfitting; call it at every report."""
        findings = []
        diversity = self.diversity(training)
        if diversity < 0.1 and training.seen > 20_000:
            self.must_roll_back = True
            findings.append(
                f"mode collapse: the diversity of generated images is {diversity:.0%} of that of real images"
            )
        self._saturated_reports = (
            self._saturated_reports + 1 if training.figures.get("real_sign", 0) > 0.95 else 0
        )
        if self._saturated_reports >= 5:
            advice = "" if training.config.augment != "none" else "; set `augment` to a preset"
            findings.append(
                f"overfitting: the discriminator recognises every training image as real (augmentation "
                f"probability {training.augment_p:.2f}){advice}"
            )
        return findings

    @staticmethod
    def diversity(training: AnyTraining) -> float:
        """Return the mean standard deviation of a pixel over generated images, relative to real ones."""
        rng = torch.Generator().manual_seed(7)
        fake = decoded(training.average, training.average.sample(64, rng))
        real = signed(training.images[:: max(1, len(training.images) // 256)])
        return float(fake.std(dim=0).mean() / real.std(dim=0).mean().clamp_min(1e-6).cpu())
