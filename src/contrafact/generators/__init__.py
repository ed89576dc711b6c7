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
from contrafact.generators.families import LegacyFamily, MedXGANFamily, StyleGAN2Family, TranslatorFamily
from contrafact.generators.family import (
    GeneratorFamily,
    TrainingSetup,
    families,
    family_named,
    family_of_network,
    family_of_size,
)
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
from contrafact.generators.progress import Progress
from contrafact.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from contrafact.generators.stylegan2_training import StyleGAN2Training, TrainerConfig
from contrafact.generators.training_loop import train_generator
from contrafact.generators.translator import Translator, TranslatorConfig
from contrafact.generators.translator_loop import train_translator
from contrafact.generators.translator_settings import TranslatorTrainerConfig
from contrafact.generators.translator_training import TranslatorTraining

__all__ = [
    "LEGACY",
    "PRESETS",
    "Augmentation",
    "Discriminator",
    "EncoderConfig",
    "EncoderSize",
    "Estimate",
    "Extractor",
    "GeneratorFamily",
    "LegacyConfig",
    "LegacyDiscriminator",
    "LegacyFamily",
    "LegacyMedXGAN",
    "LegacyTrainerConfig",
    "LegacyTraining",
    "MedXGAN",
    "MedXGANConfig",
    "MedXGANFamily",
    "MedXGANTrainerConfig",
    "MedXGANTraining",
    "Progress",
    "RandomFeatures",
    "ResNetEncoder",
    "StyleGAN2",
    "StyleGAN2Config",
    "StyleGAN2Family",
    "StyleGAN2Training",
    "TrainerConfig",
    "TrainingSetup",
    "Translator",
    "TranslatorConfig",
    "TranslatorFamily",
    "TranslatorTrainerConfig",
    "TranslatorTraining",
    "augment",
    "families",
    "family_named",
    "family_of_network",
    "family_of_size",
    "frechet_distance",
    "kernel_distance",
    "kernel_distance_interval",
    "preset",
    "train_encoder",
    "train_generator",
    "train_translator",
]
