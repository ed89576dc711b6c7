"""Names what is wrong with a GAN before hours are lost."""

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
    """Watches one training. `must_return`: the best state should be restored."""

    def __init__(self) -> None:
        self.must_return = False
        self._sure = 0

    def step(self, training: AnyTraining) -> str | None:
        """After every step: a loss or penalty that is no number."""
        bad = [k for k, v in training.figures.items() if not math.isfinite(v)]
        if bad:
            self.must_return = True
            return f"NaN: {', '.join(bad)} is not finite at {training.seen / 1000:.1f} kimg"
        return None

    def look(self, training: AnyTraining) -> list[str]:
        """At every report: collapse and overfitting."""
        said = []
        diversity = self.diversity(training)
        if diversity < 0.1 and training.seen > 20_000:
            self.must_return = True
            said.append(f"collapse: synthetic images differ {diversity:.0%} as much as real ones do")
        self._sure = self._sure + 1 if training.figures.get("real_sign", 0) > 0.95 else 0
        if self._sure >= 5:
            rescue = "" if training.config.augment != "none" else "; set `augment` to a preset"
            said.append(
                f"overfitting: the discriminator is sure of every training image (augmentation "
                f"at {training.augment_p:.2f}){rescue}"
            )
        return said

    @staticmethod
    def diversity(training: AnyTraining) -> float:
        """Mean deviation over images per pixel, synthetic over real."""
        rng = torch.Generator().manual_seed(7)
        fake = decoded(training.average, training.average.sample(64, rng))
        real = signed(training.images[:: max(1, len(training.images) // 256)])
        return float(fake.std(dim=0).mean() / real.std(dim=0).mean().clamp_min(1e-6).cpu())
