"""Reading and writing bundles."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contrafact.bundles.schema import built, checked, sized
from contrafact.core import InputError, inside, is_there, nearest
from contrafact.counterfactual import Bundle, Direction, LatentStatistics, Translation
from contrafact.generators import EncoderSize, ResNetEncoder, families, family_named, family_of_network
from contrafact.io import read_json, read_tensors, write_json, write_tensors
from contrafact.models import load_predictor

HERE = Path(__file__).parent
SCHEMA = 1
WITHDRAWN = {
    "brain": "withdrawn in version 0.1.0, since its counterfactuals flip the prediction and show no tumour "
    "(docs/results/brain.md); for a finding that is removed and added use 'nodule', and for slices of the head "
    "train a bundle of your own with 'contrafact fit'"
}
FAMILY_OF = {"generator": ("family", "stylegan2"), "translator": ("translator_family", "translator")}


def list_bundles() -> dict[str, Path]:
    """Return the folders of the bundles in the package, by name."""
    return {p.parent.name: p.parent for p in sorted(HERE.glob("*/bundle.json"))}


def find_bundle(name: str | Path) -> Path:
    """Return the folder of a shipped bundle by name, or of any bundle by its folder.

    raises  InputError for an unknown name, with the nearest known name, and for one that was withdrawn, with
            the reason
    """
    shipped = list_bundles()
    folder = shipped.get(str(name), Path(name))
    if not is_there(folder / "bundle.json"):
        check_not_withdrawn(str(name))
        known = ", ".join(shipped) or "none shipped"
        raise InputError(
            f"expected a bundle ({known}) or a folder with bundle.json; "
            f"got '{name}'{nearest(str(name), shipped)}"
        )
    return folder


def check_not_withdrawn(name: str) -> None:
    """Raise InputError for the name of a bundle that shipped once, with the reason why it does no longer."""
    if name in WITHDRAWN:
        raise InputError(f"bundle '{name}' was {WITHDRAWN[name]}")


def load_bundle(
    name: str | Path, *, device: str = "cpu", trust: bool = False, trust_code: bool = False
) -> Bundle:
    """Return a shipped bundle by name, or any bundle by its folder.

    trust, trust_code  for its predictors, as in `load_predictor`
    raises  InputError for an unknown name (with the nearest known name), a missing or invalid file, a path or
            link that leads out of the bundle, and code that is not trusted
    cost    under a second; a few MB of weights, converted to float32
    """
    folder = find_bundle(name)
    about = read_json(inside(folder, "bundle.json", what="'bundle.json'"))
    about = checked(about, SCHEMA)
    parts: dict[str, Any] = {}
    stored: dict[str, Tensor] = {}
    if "generator" in about:
        generator = built(lambda: _network(about, "generator"), "'generator'")
        size = sized(EncoderSize, about, "encoder")
        encoder = built(lambda: ResNetEncoder.of(generator, kind=size.kind, width=size.width), "'encoder'")
        _fill(generator, _part(folder, "generator.safetensors"))
        _fill(encoder, _part(folder, "encoder.safetensors"))
        read = _statistics(folder, len(about["directions"]), generator.latent_size)
        stored = {name: tensor.to(device) for name, tensor in read.items()}
        parts |= {"generator": generator, "encoder": encoder}
    if "translator" in about:
        translator = built(lambda: _network(about, "translator"), "'translator'")
        _fill(translator, _part(folder, "translator.safetensors"))
        _check_translator(translator, about["translations"])
        parts["translator"] = translator
    networks = {name: part.to(device).eval().requires_grad_(False) for name, part in parts.items()}

    def load(file: object) -> Any:
        return load_predictor(
            _part(folder, file), device=device, trust=trust, trust_code=trust_code, within=folder
        )

    predictors = {key: load(file) for key, file in about["predictors"].items()}
    seconds = {key: load(file) for key, file in about.get("seconds", {}).items()}
    return Bundle(
        name=about["name"],
        **networks,
        statistics=_latent_statistics(stored),
        window=(float(about["window"][0]), float(about["window"][1])),
        crop=str(about.get("crop", "squeeze")),
        least=about.get("least"),
        directions=tuple(
            _direction(number, row, stored, predictors[row["predictor"]].digest)
            for number, row in enumerate(about.get("directions", ()))
        ),
        translations=tuple(_translation(row, predictors) for row in about.get("translations", ())),
        engine=about.get("engine"),
        findings=tuple((predictors[f["predictor"]].digest, f["target"]) for f in about.get("findings", ())),
        predictor=predictors[about["main"]],
        predictors=predictors,
        seconds=seconds,
        card=about.get("card", {}),
    )


def _part(folder: Path, name: object) -> Path:
    """Return the path of a file in the bundle. Raise InputError for one outside."""
    return inside(folder, name, what="a file of a bundle")


def _network(about: Mapping[str, Any], part: str) -> Any:
    """Return an untrained generator or translator of the family and size in bundle.json; older bundles name no
    family, and the package's own translator has no name there."""
    word, default = FAMILY_OF[part]
    name, latent = about.get(word, default), part == "generator"
    known = [one for one, family in families().items() if family.latent == latent]
    if name not in known:
        raise InputError(f"expected the family {' or '.join(known)}; got '{name}'{nearest(name, known)}")
    family = family_named(name)
    return family.network(sized(family.size, about, part))


def save_bundle(
    folder: str | Path,
    bundle: Bundle,
    *,
    descriptions: Mapping[str, str],
    main: str,
    encoder_size: Mapping[str, Any] | None = None,
    seconds: Mapping[str, str] | None = None,
) -> Path:
    """Write a bundle into a folder that contains its predictors' files already; return the folder.

    descriptions  JSON file beside bundle.json, by name of the predictor
    encoder_size  `kind` and `width` of the encoder, where the bundle has one; None: the defaults of
                  `EncoderSize`
    seconds       JSON file of the second model, by name of the predictor; required for each second model
    raises        InputError for unknown classes of generators or encoders, and second models without a file
    """
    folder = Path(folder)
    if bundle.generator is None and bundle.translator is None:
        raise InputError(f"expected a generator or a translator in bundle '{bundle.name}'; got neither")
    seconds = dict(seconds or {})
    if set(seconds) != set(bundle.seconds):
        raise InputError(
            f"expected the description of the second model of {', '.join(bundle.seconds) or 'none'}; got "
            f"{', '.join(seconds) or 'none'}: give seconds={{name: file}}"
        )
    about = {
        "schema": SCHEMA,
        "name": bundle.name,
        "window": list(bundle.window),
        "crop": bundle.crop,
        **({} if bundle.least is None else {"least": bundle.least}),
        **({} if bundle.generator is None else _save_latent_space(folder, bundle, encoder_size or {})),
        **({} if bundle.translator is None else _save_translator(folder, bundle)),
        **({} if bundle.engine is None else {"engine": bundle.engine}),
        "main": main,
        "predictors": dict(descriptions),
        **({"seconds": seconds} if seconds else {}),
        "card": json.loads(json.dumps(dict(bundle.card))),
    }
    write_json(folder / "bundle.json", about)
    return folder


def _save_latent_space(folder: Path, bundle: Bundle, encoder_size: Mapping[str, Any]) -> dict[str, Any]:
    """Write generator, encoder, statistics and directions; return their entries of bundle.json."""
    latent = bundle.latent
    generator: Any = latent.generator
    encoder = latent.encoder
    family = family_of_network(generator, latent=True)
    if family is None or not isinstance(encoder, ResNetEncoder):
        known = " or ".join(one.network.__name__ for one in families().values() if one.latent)
        raise InputError(f"expected a {known}, and a ResNetEncoder, in a stored bundle; got other classes")
    size = EncoderSize(**encoder_size)
    read = ResNetEncoder.of(generator, kind=size.kind, width=size.width)
    if [v.shape for v in read.state_dict().values()] != [v.shape for v in encoder.state_dict().values()]:
        raise InputError(
            f"expected the encoder's own kind and width as encoder_size; got {size.kind}, {size.width}, which "
            "would make a bundle that cannot be loaded"
        )
    names = _names(bundle)
    rows, tensors = [], {"mean": latent.statistics.mean, "covariance": latent.statistics.covariance}
    if latent.statistics.curvature is not None:
        tensors["curvature"] = latent.statistics.curvature
    for number, direction in enumerate(bundle.directions):
        tensors |= {f"{number}.alpha": direction.alpha, f"{number}.step": direction.step}
        if len(direction.held):
            tensors[f"{number}.held"] = direction.held
        rows.append(
            {
                "predictor": names[direction.model],
                "target": direction.target,
                "intercept": direction.intercept,
                "deviation": direction.deviation,
                "fit": direction.fit,
            }
        )
    write_tensors(folder / "generator.safetensors", _half(generator.state_dict()))
    write_tensors(folder / "encoder.safetensors", _half(encoder.state_dict()))
    write_tensors(folder / "statistics.safetensors", tensors)
    return {
        "family": family,
        "generator": dataclasses.asdict(generator.config),
        "encoder": dict(encoder_size),
        "directions": rows,
        "findings": [{"predictor": names[model], "target": target} for model, target in bundle.findings],
    }


def _save_translator(folder: Path, bundle: Bundle) -> dict[str, Any]:
    """Write the translator; return its entries of bundle.json."""
    translator: Any = bundle.translator
    family = family_of_network(translator, latent=False)
    if family is None:
        known = " or ".join(one.network.__name__ for one in families().values() if not one.latent)
        raise InputError(f"expected a {known} in a stored bundle; got a {type(translator).__name__}")
    names = _names(bundle)
    rows: list[dict[str, Any]] = []
    for entry in bundle.translations:
        rows.append({"predictor": names[entry.model], "target": entry.target, "number": entry.number})
        if entry.by is not None:
            rows[-1]["by"] = {"predictor": names[entry.by[0]], "target": entry.by[1]}
    write_tensors(folder / "translator.safetensors", _half(translator.state_dict()))
    named = {} if family == "translator" else {"translator_family": family}
    return {**named, "translator": dataclasses.asdict(translator.config), "translations": rows}


def _names(bundle: Bundle) -> dict[str, str]:
    """Return the names of the bundle's predictors by their digests."""
    return {predictor.digest: name for name, predictor in bundle.predictors.items()}


def _translation(row: Mapping[str, Any], predictors: Mapping[str, Any]) -> Translation:
    by = row.get("by")
    return Translation(
        model=predictors[row["predictor"]].digest,
        target=row["target"],
        number=int(row["number"]),
        by=None if by is None else (predictors[by["predictor"]].digest, by["target"]),
    )


def _check_translator(translator: Any, rows: list[Mapping[str, Any]]) -> None:
    """Raise InputError where the translator has no range of scores for a row of translations."""
    count = len(translator.low)
    if not bool((translator.low < translator.high).all()):
        raise InputError("expected 'low' below 'high' in 'translator.safetensors'; got a range without width")
    for place, row in enumerate(rows):
        number = row["number"]
        if number != int(number) or not 0 <= number < count:
            raise InputError(
                f"'number' in translations {place} of bundle.json must be a whole number from 0 to "
                f"{count - 1}; got {number}"
            )


def _direction(number: int, row: Mapping[str, Any], stored: Mapping[str, Tensor], model: str) -> Direction:
    alpha = stored[f"{number}.alpha"]
    return Direction(
        alpha=alpha,
        intercept=row["intercept"],
        step=stored[f"{number}.step"],
        deviation=row["deviation"],
        target=row["target"],
        model=model,
        fit=row["fit"],
        held=stored.get(f"{number}.held", alpha.new_zeros(0, len(alpha))),
    )


def _statistics(folder: Path, directions: int, size: int) -> dict[str, Tensor]:
    """Return the tensors of a bundle's statistics, in float32. Raise InputError for invalid ones."""
    tensors = read_tensors(_part(folder, "statistics.safetensors"))
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise InputError(f"expected '{name}' of floats in 'statistics.safetensors'; got {tensor.dtype}")
    stored = {name: tensor.float() for name, tensor in tensors.items()}
    _check_numbers(stored, directions, size)
    return stored


def _latent_statistics(stored: Mapping[str, Tensor]) -> LatentStatistics | None:
    """Return the statistics of the stored tensors; older bundles have no curvature."""
    if not stored:
        return None
    return LatentStatistics(stored["mean"], stored["covariance"], stored.get("curvature"))


def _check_numbers(stored: Mapping[str, Tensor], directions: int, size: int) -> None:
    """Raise InputError for a missing tensor, a size that differs from the latents', or values that are not
    finite."""
    sizes = {"mean": (size,), "covariance": (size, size)}
    sizes |= {"curvature": (size, size)} if "curvature" in stored else {}
    sizes |= {f"{n}.{part}": (size,) for n in range(directions) for part in ("alpha", "step")}
    rows = {f"{n}.held": len(stored.get(f"{n}.held", ())) for n in range(directions)}
    sizes |= {name: (rows[name], size) for name in rows if name in stored}
    for name, wanted in sizes.items():
        actual = tuple(stored[name].shape) if name in stored else "none"
        if actual != wanted:
            raise InputError(f"expected '{name}' {wanted} in 'statistics.safetensors'; got {actual}")
        invalid = int((~torch.isfinite(stored[name])).sum())
        if invalid:
            raise InputError(
                f"expected finite numbers as '{name}' in 'statistics.safetensors'; got {invalid} NaN or "
                "infinite values"
            )


def _half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state with its floating-point tensors in half precision."""
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


def _fill(module: torch.nn.Module, path: Path) -> None:
    """Load a file of weights into a network. Raise InputError where they do not fit."""
    state = {k: v.float() if v.is_floating_point() else v for k, v in read_tensors(path).items()}
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        line = " ".join(str(error).split())[:200]
        raise InputError(f"'{path.name}' does not fit bundle.json: {line}") from error
    invalid = sum(int((~torch.isfinite(v)).sum()) for v in state.values() if v.is_floating_point())
    if invalid:
        raise InputError(f"expected finite weights in '{path.name}'; got {invalid} NaN or infinite values")
