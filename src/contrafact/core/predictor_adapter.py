"""Anything that answers images as a full `Predictor`: the one place where a predictor is asked what it has."""

from __future__ import annotations

import contextlib
import inspect
from contextlib import AbstractContextManager
from typing import Any, TypeGuard

from contrafact.core.contents import digest_of_content
from contrafact.core.errors import InputError, UnsupportedError
from contrafact.core.protocols import BoxAnswers, FeatureLayer, Predictor, Target

MEMBERS = (
    "class_count",
    "classes",
    "device",
    "differentiable",
    "digest",
    "feature_layer",
    "frozen",
    "module",
    "output",
    "preprocessing",
    "probabilities",
    "replacing",
    "target",
    "watch",
    "watchable",
)
_MISSING = object()


def adapted(predictor: Any) -> Predictor:
    """Return the predictor itself where it has every member of the protocol, else `CallablePredictor` of it.

    raises  InputError for what cannot be called
    """
    if is_predictor(predictor):
        return predictor
    if not callable(predictor):
        raise InputError(
            f"expected a predictor, or a function of images; got {type(predictor).__name__}: use load_predictor"
        )
    return CallablePredictor(predictor)


def is_predictor(thing: Any) -> TypeGuard[Predictor]:
    """Whether an object has every member of the protocol. Its own properties are not computed; of an object
    that passes attributes on (`__getattr__`), those it passes on are."""
    if isinstance(thing, type) or not callable(thing):
        return False
    passes_on = hasattr(type(thing), "__getattr__")
    return all(
        inspect.getattr_static(thing, name, _MISSING) is not _MISSING or (passes_on and hasattr(thing, name))
        for name in MEMBERS
    )


class DelegatingPredictor:
    """A predictor that does as `inner` does; subclasses change a part of it."""

    def __init__(self, inner: Predictor) -> None:
        self.inner = inner

    def __call__(self, images: Any) -> Any:
        return self.inner(images)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.inner.classes

    @property
    def class_count(self) -> int:
        return self.inner.class_count

    @property
    def output(self) -> str:
        return self.inner.output

    @property
    def device(self) -> Any:
        return self.inner.device

    @property
    def digest(self) -> str:
        return self.inner.digest

    @property
    def differentiable(self) -> bool:
        return self.inner.differentiable

    @property
    def watchable(self) -> bool:
        return self.inner.watchable

    @property
    def preprocessing(self) -> Any:
        return self.inner.preprocessing

    @property
    def module(self) -> Any:
        return self.inner.module

    def frozen(self) -> AbstractContextManager[None]:
        return self.inner.frozen()

    def watch(self, layer: str | None = None) -> AbstractContextManager[list[Any]]:
        return self.inner.watch(layer)

    def feature_layer(self, images: Any, layer: str | None = None, **more: Any) -> FeatureLayer:
        return self.inner.feature_layer(images, layer, **more)

    def replacing(self, image: Any, other: Any, box: tuple[int, ...], corner: Any) -> BoxAnswers | None:
        return self.inner.replacing(image, other, box, corner)

    def target(self, text: str) -> Target:
        return self.inner.target(text)

    def probabilities(self, outputs: Any) -> Any:
        return self.inner.probabilities(outputs)

    def __getattr__(self, name: str) -> Any:
        """Return what else a kind of predictor has, such as `layer` and `change` of a torch module."""
        if name == "inner" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner, name)


class CallablePredictor:
    """A function of images as a predictor: members of the protocol that it has are used, others get the least
    that is true of any function. The function itself is left as it is."""

    def __init__(self, function: Any) -> None:
        self.inner, self._pinned = function, ""

    def __call__(self, images: Any) -> Any:
        return self.inner(images)

    def __getattr__(self, name: str) -> Any:
        """Other members of the function, such as `layer` and `change` of a model whose layers can be read."""
        if name == "inner" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def _own(self, name: str, kind: Any, default: Any) -> Any:
        """Return a member of the function, where it has one of that kind."""
        found = getattr(self.inner, name, default)
        return found if isinstance(found, kind) else default

    def _method(self, name: str) -> Any:
        """Return a method of the function's class, or None."""
        found = getattr(self.inner, name, None)
        return found if inspect.isroutine(found) else None

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self._own("classes", (tuple, list), ()))

    @property
    def class_count(self) -> int:
        return int(self._own("class_count", int, len(self.classes)))

    @property
    def output(self) -> str:
        return str(self._own("output", str, "logits"))

    @property
    def device(self) -> Any:
        return getattr(self.inner, "device", "cpu")

    @property
    def digest(self) -> str:
        return str(self._pinned or self._own("digest", str, "") or digest_of_content(self.inner))

    @digest.setter
    def digest(self, digest: str) -> None:
        """Fix the digest, for a modified copy that represents its model."""
        self._pinned = digest

    @property
    def differentiable(self) -> bool:
        return bool(self._own("differentiable", bool, self._method("watch") is not None))

    @property
    def watchable(self) -> bool:
        return bool(self._own("watchable", bool, self._method("feature_layer") is not None))

    @property
    def preprocessing(self) -> Any:
        return getattr(self.inner, "preprocessing", None)

    @property
    def module(self) -> Any:
        """The torch module of a model whose layers can be read; else None."""
        return getattr(self.inner, "module", None) if self._method("watch") else None

    def frozen(self) -> AbstractContextManager[None]:
        freeze = self._method("frozen")
        found: AbstractContextManager[None] = contextlib.nullcontext() if freeze is None else freeze()
        return found

    def watch(self, layer: str | None = None) -> AbstractContextManager[list[Any]]:
        watch = self._method("watch")
        if watch is None:
            raise UnsupportedError("this model hides its layers; use occlusion or rise")
        found: AbstractContextManager[list[Any]] = watch(layer)
        return found

    def feature_layer(self, images: Any, layer: str | None = None, **more: Any) -> FeatureLayer:
        look = self._method("feature_layer")
        if look is None:
            raise UnsupportedError("this model hides its layers; use occlusion or rise")
        found: FeatureLayer = look(images, layer, **more)
        return found

    def replacing(self, image: Any, other: Any, box: tuple[int, ...], corner: Any) -> BoxAnswers | None:
        replace = self._method("replacing")
        found: BoxAnswers | None = None if replace is None else replace(image, other, box, corner)
        return found

    def target(self, text: str) -> Target:
        read = self._method("target")
        if read is None:
            raise InputError(
                f"expected a target as an object for a function; got '{text}': give a function of its outputs, "
                "or use load_predictor"
            )
        found: Target = read(text)
        return found

    def probabilities(self, outputs: Any) -> Any:
        read = self._method("probabilities")
        if read is None:
            raise UnsupportedError(
                "a function does not say how its outputs become probabilities; use load_predictor"
            )
        return read(outputs)
