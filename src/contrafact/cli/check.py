"""`contrafact check`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from contrafact.cli.model_options import Declared
from contrafact.cli.progress import bar, say
from contrafact.cli.trust_flags import TrustCode, TrustFile

if TYPE_CHECKING:
    from contrafact.core import Image

Flag = Annotated[bool, Parameter(negative="")]


def check(
    model: str,
    *,
    image: Path | None = None,
    sheet: Path = Path("runs/check.png"),
    bundle: str | None = None,
    declared: Declared = Declared(),
    trust: TrustFile = False,
    trust_code: TrustCode = False,
    json: Flag = False,
) -> None:
    """Report which methods a model supports, and why others fail. Every method runs once, with small settings.

    exact: the method as it is defined. approximate: an estimate, or without a named part of the network.
    unsupported: an error, with the reason. A TorchScript file is code: it is loaded with --trust only.
    Example: `contrafact check net.onnx --image knee.png`

    Args:
        model: A model file, folder, name with weights or address (docs/how-to/your-model.md), or a shipped
            bundle by name (its predictor is checked).
        image: Test image; default: noise of the size the model takes.
        sheet: With an image: a picture with one map for each method that works.
        bundle: Bundle for counterfactuals.
        declared: Options that describe the model.
        trust: Load TorchScript files, which are code that runs on this machine (docs/security.md).
        trust_code: Import and call the factory of a model description from any package.
        json: Print the result as JSON.
    """
    from contrafact.api.compatibility import check_methods, findings_of, noise_for
    from contrafact.bundles import list_bundles
    from contrafact.bundles.store import check_not_withdrawn
    from contrafact.cli.arguments import pick_bundle, pick_predictor
    from contrafact.core import EXPLAINERS, Trust
    from contrafact.io import read_image
    from contrafact.models import class_names
    from contrafact.render.text import few

    bundle = bundle or (model if model in list_bundles() else None)
    if not Path(model).exists():
        check_not_withdrawn(model)
    trusted = Trust(trust, trust_code)
    loaded = pick_bundle(bundle, trusted)
    predictor = pick_predictor(None if model == bundle else model, loaded, trusted, declared.told())
    test_image = read_image(image) if image else noise_for(predictor)
    findings = findings_of(predictor, test_image)
    rows: list[dict[str, Any]] = []
    results: dict[str, Any] = {}
    with bar("running every method", len(EXPLAINERS.names()), quiet=json) as move:
        for row in check_methods(predictor, test_image, loaded, results=results):
            rows.append(row)
            move(len(rows), text=row["name"])
    if image is not None:
        _draw(sheet, test_image, results, rows)
    names = list(class_names(predictor))
    about = {
        "classes": names,
        "output": predictor.output,
        "gradients": predictor.differentiable,
        "network": findings,
        "methods": rows,
        "sheet": str(sheet) if image is not None else None,
    }
    lines = [f"{len(names)} classes ({', '.join(few(names))}), output: {predictor.output}"]
    lines += [f"network: {line}" for line in findings]
    lines += [f"{r['name']:<26} {r['status']:<12} {r['why']}" for r in rows]
    lines += [f"pictures: {sheet}"] if image is not None else []
    say(about, as_json=json, lines=lines)


def _draw(path: Path, image: Image, results: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write a picture with one map for each method that works."""
    from PIL import Image as Picture

    from contrafact.core import Heatmap
    from contrafact.render.contact_sheet import contact_sheet

    words = {row["name"]: row["status"] for row in rows}
    empty = {
        name for name, result in results.items() if isinstance(result, Heatmap) and not result.values.any()
    }
    words |= {name: f"{words[name]}; 0 everywhere" for name in empty}
    asked = next((str(result.record.target) for result in results.values()), "")
    words["image"] = f"orange: for {asked}" if asked else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(contact_sheet(image, results, words)).save(path)
