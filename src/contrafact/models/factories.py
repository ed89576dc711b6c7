"""Factories that a model description may call: an allow-list, checked before anything is imported."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NoReturn

from torch import nn

from contrafact.core import InputError

GROUP = "contrafact.networks"
RENAMED = {"contrafact.model.networks": "contrafact.models.example_networks"}  # in descriptions before 0.9
PACKAGES = ("contrafact.models.example_networks", "monai.networks.nets", "torch.nn")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Classes that call another library's function by its name, or read its files.
REACHING = ("CellSamWrapper", "MILModel", "NetAdapter", "TorchVisionFCModel", "Transchex")
# Arguments that make a network download or read weights of its own.
FETCHING = re.compile(
    r".*(pretrain|url|cache_dir|filename|path_or_repo).*|weights|checkpoint|ckpt|path|file|.*_(path|file)"
)
PATH = re.compile(r"[/\\\0]|^~|^\.")


def build(factory: Any, arguments: Any, *, trust_code: bool = False) -> nn.Module:
    """Return the network that a description names.

    factory     `package.module:Class` of an allowed package (`PACKAGES`), or an entry point of the group
                `contrafact.networks` by its name or its value
    arguments   by name: JSON scalars, lists and tables of them
    trust_code  call any other importable class, or function annotated to return a module, as well
    raises      InputError before anything is imported for a factory outside the allow-list; after it for
                what is no network, for arguments that read files or download, or that do not fit
    """
    factory = _as_now(factory)
    entry = _installed(factory)
    allowed = entry is None and isinstance(factory, str) and factory.partition(":")[0] in PACKAGES
    if not (entry or allowed or trust_code):
        _outside(factory)
    if not isinstance(factory, str) or not isinstance(arguments, Mapping):
        raise InputError(f"factory must be text and arguments a table; got {factory!r:.60}")
    if allowed and not trust_code:
        _plain(arguments)
    try:
        maker = entry.load() if entry else _found(factory)
        if not _makes_networks(maker):
            raise TypeError("it is neither a torch module nor a function annotated to return one")
        if allowed and not trust_code:
            _check_maker(maker, factory, arguments)
        made = maker(**arguments)
    except InputError:
        raise
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"factory must be 'package.module:name' of a torch module, or of a function annotated "
            f"'-> nn.Module', that takes these arguments; got '{factory}': {error}"
        ) from error
    if not isinstance(made, nn.Module):
        raise InputError(f"{factory} must give a torch module; got {type(made).__name__}")
    return made


def _outside(factory: Any) -> NoReturn:
    raise InputError(
        f"factory must be a class of {', '.join(PACKAGES)}, or an entry point of the group {GROUP}; got "
        f"{factory!r:.100}: give --trust-code (trust_code=True in Python) if you trust where this description "
        "comes from, since the factory's code is run"
    )


def _as_now(factory: Any) -> Any:
    """The same factory at the place where it lies now."""
    if not isinstance(factory, str):
        return factory
    module, colon, name = factory.partition(":")
    return f"{RENAMED.get(module, module)}{colon}{name}"


def _installed(factory: Any) -> EntryPoint | None:
    """The entry point of that name or value: installed code, which its installation trusted."""
    return next((e for e in entry_points(group=GROUP) if factory in (e.name, e.value)), None)


def _found(factory: str) -> Any:
    package, _, name = factory.partition(":")
    if not package or not NAME.fullmatch(name):
        raise ValueError("the part behind the colon must be one name")
    return getattr(importlib.import_module(package), name)


def _makes_networks(maker: Any) -> bool:
    """A class of torch modules, or a function whose annotation says that it returns one."""
    if isinstance(maker, type):
        return issubclass(maker, nn.Module)
    try:
        made = typing.get_type_hints(maker).get("return")
    except (TypeError, NameError):
        return False
    return isinstance(made, type) and issubclass(made, nn.Module)


def _check_maker(maker: Any, factory: str, arguments: Mapping[str, Any]) -> None:
    """A class that the allowed package itself defines, which reads nothing and fetches nothing."""
    package, _, name = factory.partition(":")
    home = str(getattr(maker, "__module__", ""))
    own = isinstance(maker, type) and (home == package or home.startswith(f"{package}."))
    if not own or maker.__name__ in REACHING:
        _outside(factory)
    defaults = {p.name: p.default for p in inspect.signature(maker).parameters.values()}
    given = {k: None if v is inspect.Parameter.empty else v for k, v in defaults.items()} | dict(arguments)
    for key, value in given.items():
        if FETCHING.fullmatch(key) and value:
            raise InputError(
                f"'{key}' of {name} must be false or null, so that it fetches nothing; got {value!r:.60}: "
                "say so in 'arguments', or give --trust-code (trust_code=True in Python)"
            )


def _plain(value: Any, where: str = "arguments") -> None:
    """Scalars, lists and tables by plain names; no text that could be a path or an address."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            if not NAME.fullmatch(str(key)):
                raise InputError(f"{where} must have plain names; got {key!r:.60}")
            _plain(one, f"{where}.{key}")
    elif isinstance(value, list):
        for one in value:
            _plain(one, where)
    elif isinstance(value, str) and PATH.search(value):
        raise InputError(f"{where} must not name a path or an address; got {value!r:.60}")
