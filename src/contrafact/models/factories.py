"""Build networks from factories that a model description names, after checking an allow-list."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import typing
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NoReturn

from torch import nn

from contrafact.core import InputError, check_file
from contrafact.core.reading import one_line

GROUP = "contrafact.networks"
RENAMED = {"contrafact.model.networks": "contrafact.models.example_networks"}  # in descriptions before 0.9
PACKAGES = ("contrafact.models.example_networks", "monai.networks.nets", "torch.nn")
FILE = re.compile(r".+\.py:[A-Za-z_]\w*")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Classes that call another library's function by name, or read its files.
REACHING = ("CellSamWrapper", "MILModel", "NetAdapter", "TorchVisionFCModel", "Transchex")
# Arguments that make a network download or read weights.
FETCHING = re.compile(
    r".*(pretrain|url|cache_dir|filename|path_or_repo).*|weights|checkpoint|ckpt|path|file|.*_(path|file)"
)
PATH = re.compile(r"[/\\\0]|^~|^\.")


def build(factory: Any, arguments: Any, *, trust_code: bool = False, folder: Path = Path()) -> nn.Module:
    """Return the network that a description, or a user, names.

    factory     `package.module:Class` of an allowed package (`PACKAGES`), or an entry point of the group
                `contrafact.networks` by its name or its value; with `trust_code` also `file.py:name`
    arguments   by name: JSON scalars, lists and tables of them
    trust_code  also call any other importable class, or function annotated to return a module, and run a file
                with its folder importable
    folder      where the path of a file begins
    raises      InputError, before any import, for a factory outside the allow-list; after the import for
                anything but a network, for arguments that read files or download, or that do not fit
    """
    factory = _current_name(factory)
    entry = _installed(factory)
    allowed = entry is None and isinstance(factory, str) and factory.partition(":")[0] in PACKAGES
    if not (entry or allowed or trust_code):
        _outside(factory)
    if isinstance(factory, str) and FILE.fullmatch(factory) and isinstance(arguments, Mapping):
        return _from_file(factory, arguments, folder)
    if not isinstance(factory, str) or not isinstance(arguments, Mapping):
        raise InputError(f"factory must be text and arguments a table; got {factory!r:.60}")
    if allowed and not trust_code:
        _check_plain(arguments)
    try:
        maker = entry.load() if entry else _imported(factory)
        if not _makes_networks(maker):
            raise TypeError("it is neither a torch module class nor a function annotated to return a module")
        if allowed and not trust_code:
            _check_maker(maker, factory, arguments)
        module = maker(**arguments)
    except InputError:
        raise
    except Exception as error:  # a factory of any package, with arguments that its author did not foresee
        raise InputError(
            f"factory must be 'package.module:name' of a torch module, or of a function annotated "
            f"'-> nn.Module', that takes these arguments; got '{factory}': {one_line(error)}"
        ) from error
    if not isinstance(module, nn.Module):
        raise InputError(f"{factory} must return a torch module; got {type(module).__name__}")
    return module


def _from_file(factory: str, arguments: Mapping[str, Any], folder: Path) -> nn.Module:
    """Run a trusted Python file, and return the network that a function or class of it makes. Its folder stays
    importable, for what the network imports later."""
    name, _, maker = factory.rpartition(":")
    path = folder / name
    check_file(path, "a Python file, of --factory FILE:NAME")
    if str(path.parent.resolve()) not in sys.path:
        sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise InputError(f"'{path.name}' is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)
        spec.loader.exec_module(module)
        network = getattr(module, maker)(**arguments)
    except InputError:
        raise
    except Exception as error:  # a user's file
        raise InputError(
            f"the factory '{factory}' failed: {type(error).__name__}: {one_line(error)}"
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(f"'{factory}' must return a torch module; got {type(network).__name__}")
    return network


def _outside(factory: Any) -> NoReturn:
    raise InputError(
        f"factory must be a class of {', '.join(PACKAGES)}, or an entry point of the group {GROUP}; got "
        f"{factory!r:.100}: give --trust-code (trust_code=True in Python) if you trust the origin of this "
        "description, because the factory's code is run"
    )


def _current_name(factory: Any) -> Any:
    """Return the current name of a factory that was renamed."""
    if not isinstance(factory, str):
        return factory
    module, colon, name = factory.partition(":")
    return f"{RENAMED.get(module, module)}{colon}{name}"


def _installed(factory: Any) -> EntryPoint | None:
    """Return the entry point of that name or value, or None. Installed code is trusted."""
    return next((e for e in entry_points(group=GROUP) if factory in (e.name, e.value)), None)


def _imported(factory: str) -> Any:
    package, _, name = factory.partition(":")
    if not package or not NAME.fullmatch(name):
        raise ValueError("the part after the colon must be one name")
    return getattr(importlib.import_module(package), name)


def _makes_networks(maker: Any) -> bool:
    """Whether a factory is a torch module class, or a function annotated to return a module."""
    if isinstance(maker, type):
        return issubclass(maker, nn.Module)
    try:
        annotation = typing.get_type_hints(maker).get("return")
    except (TypeError, NameError):
        return False
    return isinstance(annotation, type) and issubclass(annotation, nn.Module)


def _check_maker(maker: Any, factory: str, arguments: Mapping[str, Any]) -> None:
    """Raise InputError unless the allowed package itself defines the class, and no argument loads a file."""
    package, _, name = factory.partition(":")
    home = str(getattr(maker, "__module__", ""))
    own = isinstance(maker, type) and (home == package or home.startswith(f"{package}."))
    if not own or maker.__name__ in REACHING:
        _outside(factory)
    defaults = {p.name: p.default for p in inspect.signature(maker).parameters.values()}
    effective = {k: None if v is inspect.Parameter.empty else v for k, v in defaults.items()} | dict(arguments)
    for key, value in effective.items():
        if FETCHING.fullmatch(key) and value:
            raise InputError(
                f"'{key}' of {name} must be false or null, so that nothing is downloaded; got {value!r:.60}: "
                "set it in 'arguments', or give --trust-code (trust_code=True in Python)"
            )


def _check_plain(value: Any, where: str = "arguments") -> None:
    """Raise InputError unless arguments are scalars, lists and tables with plain names, and no path or URL."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not NAME.fullmatch(str(key)):
                raise InputError(f"{where} must have plain names; got {key!r:.60}")
            _check_plain(item, f"{where}.{key}")
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, where)
    elif isinstance(value, str) and PATH.search(value):
        raise InputError(f"{where} must not contain a path or a URL; got {value!r:.60}")
