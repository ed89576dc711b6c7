"""Hostile model files, made on the spot: what each would do, it does to files of the test alone."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import contrafact as cf
from conftest import small_network
from contrafact.bundles import list_bundles, load_bundle
from contrafact.cli import main
from contrafact.core import InputError
from contrafact.study.runner import study

X = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
Members = dict[str, bytes]


class Evil:
    """Makes the canary, a folder, as soon as it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (self.canary,))


def pickled(canary: Path, protocol: int) -> bytes:
    return pickle.dumps(Evil(canary), protocol=protocol)


def saved(canary: Path, protocol: int) -> bytes:
    buffer = io.BytesIO()
    torch.save(Evil(canary), buffer, pickle_protocol=protocol)
    return buffer.getvalue()


def exported() -> Members:
    """The members of an honest program, without their root."""
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(small_network().eval(), (X,)), buffer)
    return members_of(buffer)


def members_of(file: Any) -> Members:
    with zipfile.ZipFile(file) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: Mapping[str, bytes], *, first: Mapping[str, bytes] | None = None) -> Path:
    """An archive; `first` holds members of names that may be there already, which come before them."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # of two members with one name
        for name, content in [*(first or {}).items(), *members.items()]:
            archive.writestr(f"m/{name}", content)
    return path


def changed(members: Members, name: str, change: Callable[[Any], Any]) -> Members:
    """The members with the JSON of one changed in place."""
    table = json.loads(members[name])
    change(table)
    return {**members, name: json.dumps(table).encode()}


def scripted(module: nn.Module, path: Path, **code: str) -> Path:
    """A script whose code is replaced: old text by new."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    buffer.seek(0)
    members = members_of(buffer)
    for name in [n for n in members if n.endswith(".py")]:
        text = members[name].decode()
        for old, new in code.items():
            text = text.replace(old, new)
        members[name] = text.encode()
    return write(path, {n: c for n, c in members.items() if not n.endswith("debug_pkl")})


def bundle_with(folder: Path, model: Path) -> Path:
    """A bundle whose predictor is another file, which lies in the bundle."""
    shutil.copytree(list_bundles()["phantom"], folder)
    shutil.copy(model, folder / model.name)
    about = json.loads((folder / "bundle.json").read_text())
    about["predictors"] = {name: described(folder, model.name).name for name in about["predictors"]}
    (folder / "bundle.json").write_text(json.dumps(about))
    return folder


def described(folder: Path, model: str) -> Path:
    """A description beside a model; of a description, itself."""
    if model.endswith(".json"):
        return folder / model
    path = folder / "described.json"
    path.write_text(json.dumps({"model": model, "classes": ["no", "yes"]}))
    return path


def study_with(folder: Path, model: Path) -> Path:
    np.save(folder / "a.npy", X[0].numpy())
    path = folder / "study.toml"
    text = f'images = ["a.npy"]\nout = "run"\ntargets = ["class:1"]\n[model]\npath = "{model.name}"\n'
    path.write_text(text + "[methods.gradient]\n")
    return path


def refused_everywhere(model: Path, words: str, capsys: pytest.CaptureFixture[str], **trust: bool) -> None:
    """Assert that `load_predictor`, a description, `check`, a bundle and a study all refuse a model file."""
    flags = [f"--{name.replace('_', '-')}" for name, given in trust.items() if given]
    with pytest.raises(InputError, match=words) as caught:
        cf.load_predictor(model, **trust)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=words):
        cf.load_predictor(described(model.parent, model.name), **trust)
    assert main(["check", str(model), *flags]) == 2
    with pytest.raises(InputError, match=words):
        load_bundle(bundle_with(model.parent / "bundle", model), **trust)
    with pytest.raises(InputError, match=words):
        list(study(study_with(model.parent, model), engine="local", **trust))
    assert main(["study", str(model.parent / "study.toml"), "--engine", "local", *flags]) == 2
    capsys.readouterr()


def description(folder: Path, factory: Any, **more: Any) -> Path:
    save_file(small_network().state_dict(), folder / "w.safetensors")
    about = {"factory": factory, "weights": "w.safetensors", "classes": ["no", "yes"], **more}
    (folder / "m.json").write_text(json.dumps(about))
    return folder / "m.json"
