"""A run as DICOM: maps, regions, pictures, counterfactuals and figures, in the study of their source."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from contrafact.core import Grid, InputError
from contrafact.io import Run, write_atomic, write_json
from contrafact.io.dicom_maps import highdicom_or_refuse, parametric_map, planes, segmentation
from contrafact.io.dicom_numbers import Figures, numbers_report
from contrafact.io.dicom_pictures import Drawn, Series, as_bytes, levels_for, picture
from contrafact.io.dicom_source import DicomSource, dicom_source, on_grid
from contrafact.views.figures import overlay, telling_slice
from contrafact.views.pictures import grey, scales_by_method

Row = Mapping[str, Any]
Arrays = Mapping[str, NDArray[Any]]
ABOUT = "about.json"
FIRST_SERIES = 901
SHARE = re.compile(r"(.+?) (\d+(?:\.\d+)?) %")
AMOUNT = re.compile(r"(.+?): (-?\d[\d.eE+-]*)( voxels)?")


@dataclass(slots=True, kw_only=True)
class _Case:
    """One image and all that was found of it."""

    source: DicomSource
    folder: Path
    manifest: Mapping[str, Any]
    scales: Mapping[str, float]
    banner: bool
    share: float
    rows: list[Row]
    written: int = 0
    evidence: list[Any] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def series(self, description: str) -> Series:
        self.written += 1
        return Series(number=FIRST_SERIES - 1 + self.written, description=description)


def export_dicom(
    run: Run, folder: Path, *, keep_patient: bool = False, banner: bool = True, share: float = 0.5
) -> Iterator[Path]:
    """Write every result of a run as DICOM files; gives the paths as they are written, `about.json` last.

    keep_patient  copy name, number, birth date and dates of the study from the source; else "anonymous"
    banner        burn SYNTHETIC - NOT FOR DIAGNOSIS into images that a network drew
    share         of the evidence that the segmented region holds
    raises        InputError for an empty run or a folder that holds files; UnsupportedError without highdicom
    """
    highdicom_or_refuse()
    rows = run.rows()
    if not rows:
        raise InputError(f"expected results in '{run.folder}'; the run is empty")
    if not 0 < share <= 1:
        raise InputError(f"share of the evidence must be above 0 and at most 1; got {share}")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"'{folder}' holds files already, and every export has new UIDs; give an empty folder")
    scales, files, missing = _scales(run, rows), [], {}
    for number, members in enumerate(_by_image(rows).values()):
        first = run.arrays(members[0])
        case = _Case(
            source=dicom_source(
                str(members[0].get("source") or ""),
                Grid(first["image"].shape[1:], affine=first["affine"]),
                about=members[0]["about"],
                digest=str(members[0]["record"]["image"]),
                keep_patient=keep_patient,
            ),
            folder=folder / f"image-{number:03d}",
            manifest=run.manifest(),
            scales=scales,
            banner=banner,
            share=share,
            rows=members,
        )
        case.missing += case.source.missing
        for path in _case(run, case, first["image"]):
            files.append(str(path.relative_to(folder)))
            yield path
        missing[case.folder.name] = case.missing
    about = {
        "patient": "kept" if keep_patient else "anonymous",
        "banner": banner,
        "missing": missing,
        "files": files,
    }
    write_json(folder / ABOUT, about)
    yield folder / ABOUT


def _by_image(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((str(row.get("source")), str(row["record"]["image"])), []).append(row)
    return groups


def _scales(run: Run, rows: Sequence[Row]) -> dict[str, float]:
    found = scales_by_method((row, run.arrays(row)) for row in rows if row["kind"] == "heatmap")
    return {method: max(scale, 1e-6) for method, scale in found.items()}


def _case(run: Run, case: _Case, image: NDArray[Any]) -> Iterator[Path]:
    if case.source.made:
        yield from _source_pictures(case, image)
    models: dict[str, list[Row]] = {}
    for row in case.rows:
        models.setdefault(str(row["record"]["model"]), []).append(row)
        arrays = run.arrays(row)
        yield from _heatmap(case, row, arrays) if row["kind"] == "heatmap" else _strip(case, row, arrays)
    for number, members in enumerate(models.values()):
        groups = [_answers(members[0]), *(_figures(row, case.manifest) for row in members)]
        series = case.series("Figures of explanations")
        report = numbers_report(case.source, groups, case.evidence, series, version=_version(members[0]))
        yield _write(case.folder / f"figures-{number}.dcm", report)


def _source_pictures(case: _Case, image: NDArray[Any]) -> Iterator[Path]:
    """The image itself, for results to refer to: there is no DICOM file of it."""
    values = case.source.turned(image)
    if len(values) not in (1, 3):
        case.missing.append(f"of {len(values)} channels the first is written")
    colour = len(values) == 3
    window = tuple(case.rows[0]["window"])
    stack = values if values.ndim == 4 else values[:, None]
    levels = None if colour else levels_for(stack[0], case.source.headers[0], steps=200)
    series = Series(number=900, description="Image explained", uid=case.source.headers[0].SeriesInstanceUID)
    drawn = Drawn(model="unknown", version="", derivation="The source says: synthetic", references=())
    for at, header in enumerate(case.source.headers):
        pixels = grey(stack[:, at], window) if colour else stack[0, at]
        data = picture(
            header,
            pixels,
            series,
            at + 1,
            levels=levels,
            window=window,
            drawn=drawn if case.source.synthetic else None,
            banner=case.banner,
            uid=header.SOPInstanceUID,
        )
        yield _write(case.folder / "image" / f"slice-{at:04d}.dcm", data)


def _heatmap(case: _Case, row: Row, arrays: Arrays) -> Iterator[Path]:
    values, record = case.source.turned(arrays["values"]), row["record"]
    words, stem = f"{_method(row)} for {_target(row)}", _stem(row)
    if values.shape != case.source.grid.shape:
        raise InputError(f"expected a map on the image's grid; got {values.shape}")
    common = {"method": _method(row), "words": words, "version": _version(row)}
    if case.source.placed:
        series = case.series(f"Heatmap {words}")
        data = parametric_map(case.source, values, series, scale=case.scales[record["method"]], **common)
        case.evidence.append(data)
        yield _write(case.folder / f"{stem}_map.dcm", data)
    region = segmentation(case.source, values, case.series(f"Evidence {words}"), share=case.share, **common)
    if region is None:
        case.missing.append(f"{words}: the map is empty, so there is no region")
    else:
        case.evidence.append(region)
        yield _write(case.folder / f"{stem}_region.dcm", region)
    at = telling_slice(values, 0) if values.ndim == 3 else 0
    image = case.source.turned(arrays["image"])
    image = image[:, at] if image.ndim == 4 else image
    scale = case.scales[record["method"]]
    drawn = overlay(image, planes(values)[at], window=tuple(row["window"]), scale=scale, kind="signed")
    data = picture(case.source.headers[at], drawn, case.series(f"Picture {words}"), 1)
    yield _write(case.folder / f"{stem}_picture.dcm", data)


def _strip(case: _Case, row: Row, arrays: Arrays) -> Iterator[Path]:
    """Of volumes a series for every frame, of single images one series of all frames."""
    frames, window = _in_source_units(row, case.source.turned(arrays["frames"]))
    grid = Grid(frames.shape[2:], affine=arrays["strip_affine"])
    headers = on_grid(case.source, grid)
    same = grid == case.source.asked
    colour = frames.shape[1] == 3
    levels = (
        None
        if colour
        else levels_for(frames[:, 0], case.source.headers[0], steps=200 if case.source.made else 20)
    )
    volume, series = frames.ndim == 5, None
    for k, frame in enumerate(frames):
        stack = frame if volume else frame[:, None]
        words = f"SYNTHETIC {_target(row)}"
        if series is None or volume:
            step = f", step {row['steps'][k]:+.3g}" if volume else ""
            series = case.series(f"{words}{step}")
        for at, header in enumerate(headers):
            drawn = Drawn(
                model=_generator(case.manifest),
                version=_version(row),
                derivation=_derivation(row, k, case.manifest),
                references=[case.source.headers[at]] if same else case.source.headers,
            )
            yield _write(
                case.folder / f"{_stem(row)}_frame-{k:03d}" / f"slice-{at:04d}.dcm",
                picture(
                    header,
                    grey(stack[:, at], window) if colour else stack[0, at],
                    series,
                    at + 1 if volume else k + 1,
                    levels=levels,
                    window=window,
                    drawn=drawn,
                    banner=case.banner,
                ),
            )


def _in_source_units(row: Row, frames: NDArray[Any]) -> tuple[NDArray[Any], tuple[float, float]]:
    """Frames and window; of an image that was stretched for the bundle, back in the units of its file."""
    low, high = (float(v) for v in row["window"])
    stretched = row["about"].get("rescaled_from")
    if not stretched or high <= low:
        return frames, (low, high)
    first, last = (float(v) for v in stretched)
    return first + (frames - low) / (high - low) * (last - first), (first, last)


def _derivation(row: Row, k: int, manifest: Mapping[str, Any]) -> str:
    record, scores = row["record"] or {}, row["scores"]
    answer = f"score {scores[row['origin']]:.3g} before, {scores[k]:.3g} here"
    if str(record.get("target", "")).split(":")[0] in ("class", "margin"):
        before, here = (
            100 / (1 + math.exp(-max(-60.0, min(60.0, s)))) for s in (scores[row["origin"]], scores[k])
        )
        answer += f" ({before:.0f} % before, {here:.0f} % here)"
    return (
        f"Counterfactual frame {k + 1} of {len(scores)}, drawn by a generative network: the image changed by "
        f"{row['steps'][k]:+.3g} towards {_target(row)}; the model's {answer}; ended: {row['stopped']}; "
        f"method {_method(row)}; model {record.get('model', '')}; generator {_generator(manifest)}"
        f"{_hashes(row)}"
    )


def _hashes(row: Row) -> str:
    """What drew, by its weights; nothing where the record is older than these."""
    record = row["record"] or {}
    return "".join(f", {name} hash {record[name]}" for name in ("generator", "bundle") if record.get(name))


def _percent(logit: float) -> float:
    return 100 / (1 + math.exp(-max(-60.0, min(60.0, logit))))


def _answers(row: Row) -> Figures:
    """What the model says of the image, from the words the run holds."""
    figures, comments = {}, [f"Model {row['record']['model']}, image {row['record']['image']}"]
    for words in row.get("answers", ()):
        if found := SHARE.fullmatch(words):
            figures[f"Probability of {found[1]}"] = (float(found[2]), "%")
        elif found := AMOUNT.fullmatch(words):
            figures[f"{found[1]}, voxels" if found[3] else found[1]] = (float(found[2]), "1")
        else:
            comments.append(words)
    return Figures(title="What the model says of the image", figures=figures, comments=comments)


def _figures(row: Row, manifest: Row) -> Figures:
    """The record of a result, its own measurements and its trust card."""
    record = row["record"]
    figures = {
        "Seconds": (record["seconds"], "s"),
        "Forward passes": (record["forward_passes"], "1"),
        "Seed": (record["seed"], "1"),
        **{str(name): (value, "1") for name, value in record["notes"].items()},
    }
    if row["kind"] == "strip":
        shown = {"Score before": row["scores"][row["origin"]], "Score after": row["scores"][-1]}
        shown |= {"Change asked": row["steps"][-1], "Drift": row["drift"], "Goal": row["goal"]}
        shown |= {"Length of the change in standard deviations": row["lengths"][-1]}
        figures |= {name: (value, "1") for name, value in shown.items() if value is not None}
    checks, comments = {}, [f"Parameters: {json.dumps(record['parameters'], ensure_ascii=False)}"]
    comments += [f"Drawn by {_generator(manifest)}{_hashes(row)}"] if _hashes(row) else []
    for check in row.get("trust", ()):
        checks[f"Check: {check['name']}"] = {True: "passed", False: "failed"}.get(
            check["passed"], "not checked"
        )
        comments.append(f"{check['name']}: {check['sentence']}")
        if check["value"] is not None:
            figures[f"Check: {check['name']}, measured"] = (check["value"], "1")
    title = f"{_method(row)} for {_target(row)}"
    return Figures(title=title, method=_method(row), figures=figures, checks=checks, comments=comments)


def _method(row: Row) -> str:
    return str(row.get("label") or row["record"]["method"])


def _target(row: Row) -> str:
    target, name = str(row["record"]["target"]), str(row.get("target_name") or "")
    return f"{target} ({name})" if name and name != target else target


def _version(row: Row) -> str:
    return str(row["record"]["versions"].get("contrafact", "unknown"))


def _generator(manifest: Mapping[str, Any]) -> str:
    names = [str(card.get("name", "")) for card in manifest.get("bundles", ())]
    return ", ".join(filter(None, names)) or Path(str(manifest.get("model") or "unknown generator")).name


def _stem(row: Row) -> str:
    """A file name without the name of the source, which may be that of a patient."""
    words = "_".join([str(row["array"]).removesuffix(".npz"), _method(row), str(row["record"]["target"])])
    return re.sub(r"[^A-Za-z0-9#+-]+", "-", words.replace(":", "-"))[:100]


def _write(path: Path, data: Any) -> Path:
    write_atomic(path, as_bytes(data))
    return path
