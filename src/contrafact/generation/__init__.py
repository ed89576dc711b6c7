"""Learning what images look like."""

from contrafact.generation.augmentation import PRESETS, Augmentation, augment, preset
from contrafact.generation.discriminator import Discriminator
from contrafact.generation.encoder import EncoderConfig, EncoderSize, ResNetEncoder, train_encoder
from contrafact.generation.medxgan import MedXGAN, MedXGANConfig
from contrafact.generation.medxgan_legacy import (
    LEGACY,
    LegacyConfig,
    LegacyDiscriminator,
    LegacyMedXGAN,
    LegacyTrainerConfig,
    LegacyTraining,
)
from contrafact.generation.medxgan_training import MedXGANTrainerConfig, MedXGANTraining
from contrafact.generation.quality import (
    Estimate,
    Extractor,
    RandomFeatures,
    frechet_distance,
    kernel_distance,
    kernel_distance_interval,
)
from contrafact.generation.stylegan2 import StyleGAN2, StyleGAN2Config
from contrafact.generation.trainer import Progress, train_generator
from contrafact.generation.training import StyleGAN2Training, TrainerConfig
from contrafact.generation.translator import Translator, TranslatorConfig
from contrafact.generation.translator_training import (
    TranslatorTrainerConfig,
    TranslatorTraining,
    train_translator,
)

__all__ = [
    "LEGACY",
    "PRESETS",
    "Augmentation",
    "Discriminator",
    "EncoderConfig",
    "EncoderSize",
    "Estimate",
    "Extractor",
    "LegacyConfig",
    "LegacyDiscriminator",
    "LegacyMedXGAN",
    "LegacyTrainerConfig",
    "LegacyTraining",
    "MedXGAN",
    "MedXGANConfig",
    "MedXGANTrainerConfig",
    "MedXGANTraining",
    "Progress",
    "RandomFeatures",
    "ResNetEncoder",
    "StyleGAN2",
    "StyleGAN2Config",
    "StyleGAN2Training",
    "TrainerConfig",
    "Translator",
    "TranslatorConfig",
    "TranslatorTrainerConfig",
    "TranslatorTraining",
    "augment",
    "frechet_distance",
    "kernel_distance",
    "kernel_distance_interval",
    "preset",
    "train_encoder",
    "train_generator",
    "train_translator",
]
