"""The families of generators that come with the package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from contrafact.core import GENERATORS, InputError, UnsupportedError
from contrafact.generators.family import GeneratorFamily, TrainingSetup
from contrafact.generators.medxgan import MedXGAN, MedXGANConfig
from contrafact.generators.medxgan_legacy import (
    LegacyConfig,
    LegacyMedXGAN,
    LegacyTrainerConfig,
    LegacyTraining,
)
from contrafact.generators.medxgan_training import MedXGANTrainerConfig, MedXGANTraining
from contrafact.generators.progress import Progress
from contrafact.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from contrafact.generators.stylegan2_training import StyleGAN2Training, TrainerConfig
from contrafact.generators.translator import Translator, TranslatorConfig
from contrafact.generators.translator_loop import train_translator
from contrafact.generators.translator_settings import TranslatorTrainerConfig
from contrafact.generators.translator_training import TranslatorTraining


@GENERATORS.register("stylegan2")
class StyleGAN2Family(GeneratorFamily):
    """Images from one latent, trained on images alone, or together with an encoder that keeps the first model's
    score; directions are fitted afterwards."""

    network, size, settings = StyleGAN2, StyleGAN2Config, TrainerConfig
    parallel = True
    begins = True

    @classmethod
    def wants_guide(cls, settings: Any) -> bool:
        return bool(settings.joint)

    @classmethod
    def training(cls, size: Any, settings: Any, setup: TrainingSetup) -> StyleGAN2Training:
        return StyleGAN2Training(
            size,
            settings,
            setup.images,
            device=setup.device,
            team=setup.team,
            origin=setup.origin,
            encoder=setup.encoder,
            guide=setup.guide,
        )


@GENERATORS.register("medxgan")
class MedXGANFamily(GeneratorFamily):
    """Anatomy and one code for each target of the first model, against which it is trained."""

    network, size, settings = MedXGAN, MedXGANConfig, MedXGANTrainerConfig
    guided = True
    run: Any = MedXGANTraining

    @classmethod
    def codes(cls, size: Any) -> int:
        return int(size.classes)

    @classmethod
    def check(cls, size: Any, targets: int) -> None:
        if targets != cls.codes(size):
            raise InputError(
                f"expected one code per target of the first model of a medxgan; got {cls.codes(size)} classes "
                f"for {targets} targets"
            )

    @classmethod
    def training(cls, size: Any, settings: Any, setup: TrainingSetup) -> Any:
        if setup.guide is None:
            raise UnsupportedError(
                "expected [models.NAME] with a torch model, whose gradients train a medxgan; got none"
            )
        if setup.team is not None:
            raise UnsupportedError("expected one device for a medxgan; got several")
        return cls.run(
            size, settings, setup.images, guide=setup.guide, device=setup.device, origin=setup.origin
        )


@GENERATORS.register("medxgan-legacy")
class LegacyFamily(MedXGANFamily):
    """The same as it was published, for one target."""

    network, size, settings = LegacyMedXGAN, LegacyConfig, LegacyTrainerConfig  # type: ignore[assignment]
    run = LegacyTraining

    @classmethod
    def codes(cls, size: Any) -> int:  # noqa: ARG003  every size has one
        return 1


@GENERATORS.register("translator")
class TranslatorFamily(GeneratorFamily):
    """One pass makes the image at another score of the first model; no latent space."""

    network, size, settings = Translator, TranslatorConfig, TranslatorTrainerConfig
    latent = False
    guided = True

    @classmethod
    def check(cls, size: Any, targets: int) -> None:
        if targets != size.targets:
            raise InputError(
                f"expected as many targets of a translator as of its first model; got targets = {size.targets} "
                f"in [generator] for {targets} in [models]"
            )

    @classmethod
    def training(cls, size: Any, settings: Any, setup: TrainingSetup) -> TranslatorTraining:
        if setup.guide is None:
            raise UnsupportedError(
                "expected [models.NAME], the model with which a translator is trained; got none"
            )
        return TranslatorTraining(
            size,
            settings,
            setup.images,
            guide=setup.guide,
            black_box=setup.black_box,
            device=setup.device,
            origin=setup.origin,
        )

    @classmethod
    def train(cls, training: Any, *, stop: Callable[[], bool]) -> Iterator[Progress]:
        return train_translator(training, stop=stop)
