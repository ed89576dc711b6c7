"""Where a model comes from, as the user wrote it: a file, a folder, a name with a weights file, an address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contrafact.core import FORMATS, UNTRUSTED, InputError, Trust, check_file, inside, is_folder, is_there

WRITTEN = re.compile(r"(?P<scheme>[a-z][a-z0-9-]+):(?P<rest>.+)", re.DOTALL)
ADDRESSES = ("http", "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model as the user named it, and what may be read and run for it.

    text       as it was written, for errors
    path       the file or folder; of a name with weights, the weights; None: none was given
    scheme     of `timm:resnet50@weights.safetensors`: timm; empty for a file or folder
    name       of that: resnet50; of an address, all of it
    factory    of a state dict, the network that it fills: `package.module:name` or `file.py:name`
    arguments  of the factory
    inputs     of the network beside the image, kept constant, by name
    trust      what code may run
    within     folder that must contain every file; None: any
    described  a description names it, not the user
    """

    text: str
    path: Path | None = None
    scheme: str = ""
    name: str = ""
    factory: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    trust: Trust = UNTRUSTED
    within: Path | None = None
    described: bool = False

    @property
    def suffix(self) -> str:
        """Suffix of the file in lower case, `.safetensors`; empty for a name or an address."""
        return "" if self.path is None or self.scheme else self.path.suffix.lower()

    @property
    def folder(self) -> Path | None:
        """The folder, where the model is one."""
        return self.path if self.path is not None and not self.scheme and is_folder(self.path) else None

    @property
    def file(self) -> Path:
        """The file of the model, or of its weights; raise InputError where there is none."""
        if self.path is None:
            raise InputError(f"expected '{self.text}@FILE', with a file of its weights; got none")
        return self.allowed(self.path, "a weights file" if self.scheme else "a model file")

    def part(self, name: str) -> Path:
        """Return a file in the folder of the model; raise InputError where there is none."""
        return self.allowed((self.folder or self.file.parent) / name, f"'{name}' of '{self.text}'")

    def has(self, name: str) -> bool:
        """Whether the folder of the model has a file or folder of that name."""
        return self.folder is not None and is_there(self.folder / name)

    def allowed(self, path: Path, what: str) -> Path:
        """Return the path of a file that exists and may be read; raise InputError for any other."""
        if self.within is not None:
            path = inside(self.within, str(path.absolute()), what=what)
        check_file(path, what)
        return path


def source_of(model: str | Path, **allowed: Any) -> ModelSource:
    """Return the source that a text or a path names.

    allowed  `factory`, `arguments`, `inputs`, `trust`, `within`, `described`, as in `ModelSource`
    """
    text = str(model)
    match = None if isinstance(model, Path) or is_there(Path(text)) else WRITTEN.fullmatch(text)
    if match and match["scheme"] in ADDRESSES:
        return ModelSource(text=text, scheme=match["scheme"], name=text, **allowed)
    if match is None or match["scheme"] not in schemes():
        return ModelSource(text=text, path=Path(text), **allowed)
    name, at, file = match["rest"].rpartition("@")
    return ModelSource(
        text=text,
        path=Path(file) if at else None,
        scheme=match["scheme"],
        name=name if at else file,
        **allowed,
    )


def located(text: str, folder: Path) -> str:
    """Return the text of a model with its path relative to `folder` made a path from here."""
    source = source_of(text) if not is_there(folder / text) else ModelSource(text=text, path=Path(text))
    if source.path is None:
        return text
    return (
        f"{source.scheme}:{source.name}@{folder / source.path}" if source.scheme else str(folder / source.path)
    )


def is_model(text: str) -> bool:
    """Whether a text names a file or folder that exists, a model by its scheme, or an address."""
    return bool(source_of(text).scheme) or is_there(Path(text))


def schemes() -> tuple[str, ...]:
    """Return the words before the colon that registered formats read."""
    return tuple(word for name in FORMATS.names() for word in FORMATS.get(name)().schemes)
