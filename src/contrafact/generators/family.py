"""What a family of generators is: network, sizes and training, registered under one name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from contrafact.core import GENERATORS, InputError, nearest
from contrafact.generators.progress import Progress
from contrafact.generators.training_loop import train_generator


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrainingSetup:
    """What a run is trained on, and with.

    images  (N, C, *S) uint8, or float32 in [-1, 1], at the generator's size
    guide   images in [-1, 1] to scores (N, targets) of the first model; None: not wanted
    black_box  the guide has no gradients
    team    several processes, as `lightning_fabric.Fabric`; None: one
    origin  what else the saved states of a run must agree with
    encoder  the [encoder] table, for a family that trains one together with the generator
    """

    images: Tensor
    guide: Any = None
    black_box: bool = False
    device: str = "cpu"
    team: Any = None
    origin: Mapping[str, Any] | None = None
    encoder: Any = None


def axes_of(size: Any) -> int:
    """Return the number of spatial axes of a generator's size: 2 unless it has `axes`."""
    return int(size.axes) if isinstance(size, WithAxes) else 2


@runtime_checkable
class WithAxes(Protocol):
    """The size of a generator that knows volumes."""

    @property
    def axes(self) -> int:
        """2 or 3."""


class GeneratorFamily:
    """A family of generators. A new one is a subclass in one file with
    `@GENERATORS.register("name")` above it, imported by an entry point of the group `contrafact.generators`.

    network   class of the generator, made of its size alone: an `nn.Module` that keeps the size as `config` and
              is a `core.Generator`, or a `core.ImageTranslator`
    size      frozen dataclass of the [generator] table: `resolution`, `channels`, and `axes` where volumes are
              known
    settings  frozen dataclass of the [training] table: `kimg` and `mirror`, with a latent space `augment` too
    latent    whether images have latents; else the network is a translator, and `fit` has one stage
    guided    trained against the first model, which then has to give gradients
    parallel  whether several devices may train one run
    begins    whether a run may begin with a trained generator, by its `begin_with`
    """

    network: ClassVar[Any]
    size: ClassVar[Any]
    settings: ClassVar[Any]
    latent: ClassVar[bool] = True
    guided: ClassVar[bool] = False
    parallel: ClassVar[bool] = False
    begins: ClassVar[bool] = False

    @classmethod
    def codes(cls, size: Any) -> int:  # noqa: ARG003  for families that have some
        """Return the number of codes for findings of a generator of that size; 0: it uses directions."""
        return 0

    @classmethod
    def wants_guide(cls, settings: Any) -> bool:  # noqa: ARG003  for families whose settings decide
        """Return whether a run with these settings takes the first model as its guide."""
        return cls.guided

    @classmethod
    def check(cls, size: Any, targets: int) -> None:
        """Raise InputError where a size does not fit the number of targets of the first model."""

    @classmethod
    def training(cls, size: Any, settings: Any, setup: TrainingSetup) -> Any:
        """Return a run before its first step: `step()`, `state()`, `restore(state)`, `seen`, `average`, and
        what `train` needs besides. `state()` holds `about`, of
        `checkpoint.trained_with`, and `restore` compares it."""
        raise NotImplementedError

    @classmethod
    def train(cls, training: Any, *, stop: Callable[[], bool]) -> Iterator[Progress]:
        """Train to the end of the settings, with reports, at each of which the state is saved; `stop` is asked
        between steps. This one asks for all that a `StyleGAN2Training` has; another kind of run has its own."""
        return train_generator(training, stop=stop)


def family_named(name: str) -> type[GeneratorFamily]:
    """Return the family of that name. Raise InputError with the nearest for an unknown one."""
    known = GENERATORS.names()
    if name not in known:
        raise InputError(f"family must be one of {', '.join(known)}; got '{name}'{nearest(name, known)}")
    family: type[GeneratorFamily] = GENERATORS.get(name)
    return family


def families() -> dict[str, type[GeneratorFamily]]:
    """Return every family by its name."""
    return {name: family_named(name) for name in GENERATORS.names()}


def family_of_size(size: Any) -> str:
    """Return the name of the family whose [generator] table that is. Raise InputError for another."""
    for name, family in families().items():
        if type(size) is family.size:
            return name
    raise InputError(f"expected the size of a registered generator; got {type(size).__name__}")


def family_of_network(network: Any, *, latent: bool) -> str | None:
    """Return the name of the family that a network is of, with or without a latent space; None: of none."""
    known = {name: family for name, family in families().items() if family.latent == latent}
    exact = [name for name, family in known.items() if type(network) is family.network]
    near = [name for name, family in known.items() if isinstance(network, family.network)]
    return next(iter(exact or near), None)
