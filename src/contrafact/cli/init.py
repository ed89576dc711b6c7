"""`contrafact init`"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from contrafact.cli.model_options import Declared
from contrafact.cli.progress import say
from contrafact.cli.trust_flags import TrustCode, TrustFile

Flag = Annotated[bool, Parameter(negative="")]


def init(
    model: str,
    *,
    out: Path = Path("model.json"),
    image: Path | None = None,
    declared: Declared = Declared(),
    replace: Flag = False,
    trust: TrustFile = False,
    trust_code: TrustCode = False,
    json: Flag = False,
) -> None:
    """Write a description of a model, with what its format states and what one pass through it shows: inputs,
    outputs, their ranges, layers. It is commented, ready to edit, and every command takes it as the model.

    Example: `contrafact init net.onnx --image knee.png`

    Args:
        model: A model file, folder, name with weights or address (docs/how-to/your-model.md).
        out: The description; it names the model relative to its folder.
        image: An image of the kind that the model takes; default: noise of sizes that networks take often.
        declared: Options that describe the model.
        replace: Write over a description that is there.
        trust: Load TorchScript files, which are code that runs on this machine (docs/security.md).
        trust_code: Import and call the factory of a model from any package.
        json: Print the description as JSON.
    """
    from contrafact.core import InputError, Trust
    from contrafact.io import read_image, write_json
    from contrafact.models.draft import drafted
    from contrafact.models.opened import open_model
    from contrafact.models.source import source_of

    if out.exists() and not replace:
        raise InputError(f"'{out}' exists: give --out, or --replace to write over it")
    told = declared.told()
    more: dict[str, Any] = {key: told.pop(key) for key in ("factory", "arguments", "inputs") if key in told}
    source = source_of(model, trust=Trust(trust, trust_code), **more)
    opened = open_model(source)
    values = None if image is None else read_image(image).values
    table = {**_named(source, more, out.parent), **drafted(opened, told, values)}
    write_json(out, table)
    line = f"{out}: edit it, and use it as the model: contrafact check {out} --image FILE"
    comments = [f"{key.removeprefix('// ')}: {text}" for key, text in table.items() if key.startswith("//")]
    say({"description": str(out), **table}, as_json=json, lines=[*comments, line])


def _named(source: Any, more: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the keys of a description that name the model, relative to the folder of the description."""
    path = (
        None
        if source.path is None
        else Path(os.path.relpath(source.path.resolve(), folder.resolve())).as_posix()
    )
    inputs = {"inputs": more.pop("inputs")} if "inputs" in more else {}
    if more:
        factory = more["factory"]
        file, colon, name = factory.rpartition(":")
        if file.endswith(".py"):
            factory = f"{_beside(Path(file), folder)}{colon}{name}"
        return {"factory": factory, "arguments": more.get("arguments", {}), "weights": path, **inputs}
    if source.scheme and path is None:
        return {"model": source.text, **inputs}
    return {"model": f"{source.scheme}:{source.name}@{path}" if source.scheme else path, **inputs}


def _beside(path: Path, folder: Path) -> str:
    """Return a path relative to a folder."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
