"""Export a run as DICOM in the study of its source: heatmaps, regions, pictures, frames, measurements."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from contrafact.core import Grid, InputError, resolved
from contrafact.export.dicom.captures import change_capture, frame_capture, frame_words, heatmap_capture
from contrafact.export.dicom.images import Drawn, Series, as_bytes, keeps_class, levels_for, picture
from contrafact.export.dicom.maps import highdicom_or_refuse, parametric_map, segmentation
from contrafact.export.dicom.source import DicomSource, dicom_source, on_grid
from contrafact.export.dicom.structured_report import Figures, numbers_report
from contrafact.export.without_names import NamelessRun
from contrafact.io import Run, read_json, stored_grid, write_atomic, write_json
from contrafact.io.stored_rows import is_number
from contrafact.render.map_display import display_sign
from contrafact.render.outcome import ORIGINAL, frame_kinds, last_frame, level, probability_of, unit_of
from contrafact.render.pixels import grey
from contrafact.render.run_index import RunIndex
from contrafact.render.text import check_title, checks_of, engine_words

Row = Mapping[str, Any]
Arrays = Mapping[str, NDArray[Any]]
ABOUT = "about.json"
FIRST_SERIES = 901
SHARE = re.compile(r"(.+?) (\d+(?:\.\d+)?) %")
AMOUNT = re.compile(r"(.+?): (-?\d[\d.eE+-]*)( voxels)?")


@dataclass(slots=True, kw_only=True)
class _Case:
    """One image with all its results."""

    source: DicomSource
    folder: Path
    manifest: Mapping[str, Any]
    cohort: RunIndex
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
    run: Run,
    folder: Path,
    *,
    keep_patient: bool = False,
    banner: bool = True,
    share: float = 0.5,
    key: Path | None = None,
) -> Iterator[Path]:
    """Write every result of a run as DICOM files; yield the paths as they are written, `about.json` last.

    keep_patient  copy name, number, birth date and dates of the study from the source; else "anonymous"
    banner        burn SYNTHETIC - NOT FOR DIAGNOSIS into generated slices and CT and MR images; Secondary
                  Captures of single images have it below the image, always
    share         share of the evidence in the segmented region
    key           replace the UIDs of the sources, and write the new ones with the old ones to this file, which
                  must lie outside `folder`; a key that is there is used and added to
    raises        InputError for a folder that holds files, or a run without a result that can be read;
                  UnsupportedError without highdicom
    warns         with the name of each result that cannot be read; the others are written
    """
    highdicom_or_refuse()
    if not 0 < share <= 1:
        raise InputError(f"expected a share of the evidence above 0 and at most 1; got {share}")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(
            f"expected an empty folder, because every export has new UIDs; got files in '{folder}'"
        )
    uids = None if key is None else read_key(key, folder)
    run = NamelessRun(run.folder, images=False)  # the source has the names of its images, not of others
    rows = [row for row, _ in run.results()]
    cohort, files, missing = RunIndex(run), [], {}
    for number, members in enumerate(_by_image(rows).values()):
        first = run.arrays(members[0])
        case = _Case(
            source=dicom_source(
                str(members[0].get("source") or ""),
                stored_grid(members[0], first["image"].shape[1:], first["affine"]),
                about=members[0].get("about") or {},
                digest=str(members[0]["record"]["image"]),
                keep_patient=keep_patient,
                uids=uids,
            ),
            folder=folder / f"image-{number:03d}",
            manifest=run.manifest(),
            cohort=cohort,
            banner=banner,
            share=share,
            rows=members,
        )
        case.missing += case.source.missing
        if key is not None and uids is not None:  # before the files, so that there is a way back from each
            write_key(key, uids)
        for path in _case(run, case, first["image"]):
            files.append(str(path.relative_to(folder)))
            yield path
        missing[case.folder.name] = case.missing
    about = {
        "patient": "kept" if keep_patient else "anonymous",
        "uids": "kept" if key is None else "new",
        "banner": banner,
        "missing": missing,
        "files": files,
    }
    write_json(folder / ABOUT, about)
    yield folder / ABOUT


def read_key(key: Path, folder: Path) -> dict[str, str]:
    """Return new UIDs by old ones, as in a key file; empty where there is none yet.

    raises  InputError for a key inside the exported folder, with which it would travel, and for another file
    """
    if resolved(key, "a key of UIDs").is_relative_to(folder.resolve()):
        raise InputError(f"expected a key outside '{folder}', with whose files it would travel; got '{key}'")
    stored = read_json(key) if key.exists() else {"uids": {}}
    uids = stored.get("uids") if isinstance(stored, dict) else None
    if not isinstance(uids, dict) or not all(isinstance(old, str) for old in uids.values()):
        raise InputError(f"expected a key of UIDs in '{key}'; choose another file")
    return {old: new for new, old in uids.items()}


def write_key(key: Path, uids: Mapping[str, str]) -> None:
    """Write the old UID of every new one, in a file that only its owner reads."""
    key.parent.mkdir(parents=True, exist_ok=True)
    key.touch(mode=0o600)
    beside = key.with_name(key.name + ".part")
    beside.touch(mode=0o600)
    write_json(key, {"uids": {new: old for old, new in uids.items()}})


def _by_image(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((str(row.get("source")), str(row["record"]["image"])), []).append(row)
    return groups


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
    """Write the image itself, because results must refer to a DICOM file and there is none."""
    values = case.source.turned(image)
    if len(values) not in (1, 3):
        case.missing.append(f"only the first of {len(values)} channels is written")
    colour = len(values) == 3
    window = tuple(case.rows[0]["window"])
    stack = values if values.ndim == 4 else values[:, None]
    levels = None if colour else levels_for(stack[0], case.source.headers[0], steps=200)
    series = Series(number=900, description="Image explained", uid=case.source.headers[0].SeriesInstanceUID)
    drawn = Drawn(model="unknown", version="", derivation="Declared synthetic by the source", references=())
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
    values, scale = case.source.turned(arrays["values"]), case.cohort.map_scale(row, arrays["values"])
    words, stem = f"{_method(row)} for {_target(row)}", _stem(row)
    if values.shape != case.source.grid.shape:
        raise InputError(f"expected a map on the image's grid; got {values.shape}")
    factor = f"x{scale.factor:.0f} " if scale.words else ""  # comes first, because long descriptions are cut
    common = {"method": _method(row), "words": words, "version": _version(row)}
    if case.source.placed:
        series = case.series(f"Heatmap {factor}{words}")
        data = parametric_map(case.source, values, series, scale=max(scale.drawn, 1e-6), **common)
        case.evidence.append(data)
        yield _write(case.folder / f"{stem}_map.dcm", data)
    yield from _region(case, row, values, words, common)
    series = case.series(f"Picture {factor}{words}")
    data = heatmap_capture(case.source.headers[0], row, arrays, scale, series)
    yield _write(case.folder / f"{stem}_picture.dcm", data)


def _region(
    case: _Case, row: Row, values: NDArray[Any], words: str, common: Mapping[str, Any]
) -> Iterator[Path]:
    """Write the strongest regions; for volumes only if the position of the slices in the patient is known."""
    if not case.source.placed and len(case.source.headers) > 1:
        case.missing.append(f"{words}: position of the slices in the patient unknown: no region")
        return
    turned, series = display_sign(row) < 0, case.series(f"Evidence {words}")
    region = segmentation(case.source, values, series, share=case.share, turned=turned, **common)
    if region is None:
        case.missing.append(f"{words}: the map is empty, so there is no region")
        return
    case.evidence.append(region)
    yield _write(case.folder / f"{_stem(row)}_region.dcm", region)


def _strip(case: _Case, row: Row, arrays: Arrays) -> Iterator[Path]:
    """Write the frames: for volumes one series per frame, for single images one series of all synthetic frames.
    The original has a separate series, so that no series mixes original and synthetic images."""
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
    volume, kinds, series = frames.ndim == 5, frame_kinds(row), dict[str, Series]()
    plain = partial(picture, levels=levels, window=window, banner=case.banner)
    captured = partial(frame_capture, levels=levels, window=window)
    for k, frame in enumerate(frames):
        stack = frame if volume else frame[:, None]
        key = str(k) if volume else kinds[k]
        if key not in series:
            mark = "Original" if kinds[k] == ORIGINAL else "SYNTHETIC"
            step = f", change requested {row['requested'][k]:+.3g}" if volume and kinds[k] != ORIGINAL else ""
            series[key] = case.series(f"{mark} {_target(row)}{step}")
        for at, header in enumerate(headers):
            drawn = _drawn(case, row, k, [case.source.headers[at]] if same else case.source.headers)
            pixels = grey(stack[:, at], window) if colour else stack[0, at]
            number = at + 1 if volume else k + 1
            if volume or keeps_class(header, pixels):
                data = plain(header, pixels, series[key], number, drawn=drawn)
            else:
                words = frame_words(header, row, k, drawn.model)
                data = captured(header, pixels, series[key], number, drawn=drawn, words=words)
            yield _write(case.folder / f"{_stem(row)}_frame-{k:03d}" / f"slice-{at:04d}.dcm", data)
    drawn = _drawn(case, row, last_frame(row), case.source.headers)
    data = change_capture(headers[0], row, arrays, case.series(f"SYNTHETIC picture {_target(row)}"), drawn)
    yield _write(case.folder / f"{_stem(row)}_picture.dcm", data)


def _drawn(case: _Case, row: Row, k: int, references: Sequence[Any]) -> Drawn:
    """Return what made frame `k` of a counterfactual."""
    return Drawn(
        model=_generator(row, case.manifest),
        version=_version(row),
        derivation=_derivation(row, k, case.manifest),
        references=references,
        synthetic=frame_kinds(row)[k] != ORIGINAL or case.source.synthetic,
    )


def _in_source_units(row: Row, frames: NDArray[Any]) -> tuple[NDArray[Any], tuple[float, float]]:
    """Return frames and window in the units of the file, also for images that were rescaled for the bundle."""
    low, high = (float(v) for v in row["window"])
    stretched = (row.get("about") or {}).get("rescaled_from")
    if not stretched or high <= low:
        return frames, (low, high)
    first, last = (float(v) for v in stretched)
    return first + (frames - low) / (high - low) * (last - first), (first, last)


def _derivation(row: Row, k: int, manifest: Mapping[str, Any]) -> str:
    record, scores, origin = row["record"] or {}, row["scores"], int(row["origin"])
    target, count = str(record.get("target", "")), len(scores)
    if frame_kinds(row)[k] == ORIGINAL:
        return (
            f"Original image, frame {k} of {count} of a counterfactual: no pixel is generated; "
            f"prediction for {_target(row)} {level(target, scores[k])}; model {record.get('model', '')}"
        )
    requested, achieved = row["requested"][k] - row["requested"][origin], scores[k] - scores[origin]
    return (
        f"Counterfactual, frame {k} of {count}, SYNTHETIC: generated by a network; prediction for "
        f"{_target(row)} {level(target, scores[origin])} before, {level(target, scores[k])} here; "
        f"change requested {requested:+.3g}, achieved {achieved:+.3g} {unit_of(target)}; "
        f"ended: {row['outcome']}; method {engine_words(row)}; model {record.get('model', '')}; "
        f"generator {_generator(row, manifest)}{_hashes(row)}"
    )


def _hashes(row: Row) -> str:
    """Return the hashes of generator and bundle; empty for older records."""
    record = row["record"] or {}
    return "".join(f", {name} hash {record[name]}" for name in ("generator", "bundle") if record.get(name))


def _answers(row: Row) -> Figures:
    """Return the model's prediction for the image, from the text in the run."""
    figures, comments = {}, [f"Model {row['record']['model']}, image {row['record']['image']}"]
    for words in row.get("answers", ()):
        if found := SHARE.fullmatch(words):
            figures[f"Probability of {found[1]}"] = (float(found[2]), "%")
        elif found := AMOUNT.fullmatch(words):
            figures[f"{found[1]}, voxels" if found[3] else found[1]] = (float(found[2]), "1")
        else:
            comments.append(words)
    return Figures(title="Prediction for the image", figures=figures, comments=comments)


def _figures(row: Row, manifest: Row) -> Figures:
    """Return record, measurements and reliability checks of a result."""
    record = row["record"]
    figures = {
        "Seconds": (record["seconds"], "s"),
        "Forward passes": (record["forward_passes"], "1"),
        "Seed": (record["seed"], "1"),
        **{str(name): (value, "1") for name, value in record["notes"].items() if is_number(value)},
    }
    if row["kind"] == "strip":
        figures |= _changes(row)
    checks, comments = {}, [f"Parameters: {json.dumps(record['parameters'], ensure_ascii=False)}"]
    comments += [f"Generated by {_generator(row, manifest)}{_hashes(row)}"] if _hashes(row) else []
    for check in checks_of(row):
        checks[f"Check: {check['name']}"] = {True: "passed", False: "failed"}.get(
            check["passed"], "not checked"
        )
        comments.append(f"{check_title(check['name'])}: {check['sentence']}")
        if check["value"] is not None:
            figures[f"Check: {check['name']}, measured"] = (check["value"], "1")
    title = f"{_method(row)} for {_target(row)}"
    return Figures(title=title, method=_method(row), figures=figures, checks=checks, comments=comments)


def _changes(row: Row) -> dict[str, tuple[float, str]]:
    """Return the measurements of a counterfactual: levels before and after, changes requested and achieved."""
    target, scores, steps = str(row["record"]["target"]), row["scores"], row["requested"]
    first, last = int(row["origin"]), last_frame(row)
    shown = {"Score before": scores[first], "Score after": scores[last]}
    shown |= {"Change requested": steps[last] - steps[first], "Change achieved": scores[last] - scores[first]}
    shown |= {"Reconstruction error": row["reconstruction_error"], "Goal": row.get("goal")}
    if max(row["latent_distance"]) > 0:  # a translator has no latent space
        shown |= {"Latent distance in standard deviations": row["latent_distance"][last]}
    figures = {name: (value, "1") for name, value in shown.items() if value is not None}
    for name, k in (("before", first), ("after", last)):
        share = probability_of(target, scores[k])
        if share is not None:
            figures[f"Probability {name}"] = (100 * share, "%")
    return figures


def _method(row: Row) -> str:
    return str(row.get("label") or row["record"]["method"])


def _target(row: Row) -> str:
    target, name = str(row["record"]["target"]), str(row.get("target_name") or "")
    return f"{target} ({name})" if name and name != target else target


def _version(row: Row) -> str:
    return str(row["record"]["versions"].get("contrafact", "unknown"))


def _generator(row: Row, manifest: Mapping[str, Any]) -> str:
    """Return the generator of a result: as named in its row, else the bundle with its hash or the only one."""
    if row.get("generator_name"):
        return str(row["generator_name"])
    cards, own = list(manifest.get("bundles", ())), (row["record"] or {}).get("bundle")
    mine = [c for c in cards if own and c.get("bundle") == own] or (cards if len(cards) == 1 else [])
    name = str(mine[0].get("name", "")) if mine else ""
    return name or Path(str(manifest.get("model") or "unknown generator")).name


def _stem(row: Row) -> str:
    """Return a file name without the name of the source, which may contain a patient's name."""
    words = "_".join([str(row["array"]).removesuffix(".npz"), _method(row), str(row["record"]["target"])])
    return re.sub(r"[^A-Za-z0-9#+-]+", "-", words.replace(":", "-"))[:100]


def _write(path: Path, data: Any) -> Path:
    write_atomic(path, as_bytes(data))
    return path
