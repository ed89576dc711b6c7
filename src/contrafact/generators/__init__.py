"""Generators, translators and encoders: networks that generate images, and their training."""

from contrafact.generators.augmentation import PRESETS, Augmentation, augment, preset
from contrafact.generators.discriminator import Discriminator
from contrafact.generators.distances import (
    Estimate,
    Extractor,
    RandomFeatures,
    frechet_distance,
    kernel_distance,
    kernel_distance_interval,
)
from contrafact.generators.encoder import EncoderConfig, EncoderSize, ResNetEncoder, train_encoder
from contrafact.generators.medxgan import MedXGAN, MedXGANConfig
from contrafact.generators.medxgan_legacy import (
    LEGACY,
    LegacyConfig,
    LegacyDiscriminator,
    LegacyMedXGAN,
    LegacyTrainerConfig,
    LegacyTraining,
)
from contrafact.generators.medxgan_training import MedXGANTrainerConfig, MedXGANTraining
from contrafact.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from contrafact.generators.stylegan2_training import StyleGAN2Training, TrainerConfig
from contrafact.generators.training_loop import Progress, train_generator
from contrafact.generators.translator import Translator, TranslatorConfig
from contrafact.generators.translator_loop import train_translator
from contrafact.generators.translator_training import TranslatorTrainerConfig, TranslatorTraining

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
