"""Export a run: one file or a few files per result."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, InputError, nearest
from contrafact.export.arrays import write_nifti, write_npz
from contrafact.export.dicom.export import export_dicom
from contrafact.export.movie import ffmpeg_or_refuse, found_ffmpeg, slices_mp4, walk_mp4
from contrafact.export.paper_files import (
    framed,
    frames_gif,
    large,
    legend_words,
    paper_files,
    slice_pictures,
    walk_pictures,
)
from contrafact.export.pdf import write_pdf
from contrafact.export.without_names import NamelessRun
from contrafact.io import Run, stored_grid, write_atomic
from contrafact.render.captions import described_png
from contrafact.render.case import image_measures
from contrafact.render.figures import (
    Pixels,
    animation,
    overlay,
    panel,
    plane_names,
    telling_slice,
    upright,
    views_of,
)
from contrafact.render.map_display import colour_names, display_sign, map_flaw
from contrafact.render.outcome import ORIGINAL, display_order, frame_kinds, frame_titles, levels
from contrafact.render.paper import SIDE, change_sheet, heatmap_sheet
from contrafact.render.pixels import grey, signed_scale
from contrafact.render.run_index import RunIndex
from contrafact.render.text import engine_words
from contrafact.report.page import write_report

FORMS = ("nifti", "npz", "png", "figure", "animation", "mp4", "html", "pdf", "dicom")
LOW = 64  # least pixels of the height of panels, beside which the words of the scale fit
Arrays = Mapping[str, NDArray[Any]]


def export_run(
    run: Run, form: str, folder: Path, *, kind: str = "signed", keep_names: bool = False
) -> Iterator[Path]:
    """Write every result of a run; yield the paths as they are written.

    Images are named by their number in the run, unless `keep_names`: the name of a file may be a patient's.

    form  nifti      heatmaps and frames, float32, on the source's grid with its affine and header
          npz        all arrays, with the record
          png        overlays of `kind`, 1,024 pixels and more, between strips of words that cover no image
                     (`alpha` without them); for volumes three planes and three projections that keep the sign;
                     maps of several targets side by side on one scale. File names contain `_x48` for a map on
                     a per-image scale, and `_original` or `_synthetic` for a frame; the text chunk
                     `Description` explains colours and scale
          figure     for a slide or a paper, 1,024 pixels a panel and more, as PNG, SVG and PDF: heatmaps beside
                     their image; original, changed image and difference; with title, target, legend, scale,
                     letters, SYNTHETIC mark, and all of that as metadata. Counterfactuals as GIF too, and as
                     MP4 where ffmpeg is found
          animation  GIF: slices of a volume, or frames of a counterfactual, 1,024 pixels and more, between
                     strips of words
          mp4        the same as MP4, by ffmpeg
          html       the report
          pdf        the report, printed by Chromium or Chrome: `write_pdf`
          dicom      parametric maps, segmentations, pictures, synthetic series, measurements: `export_dicom`
    raises  InputError for an unknown form, or a run without a result that can be read; UnsupportedError for
            mp4 without ffmpeg
    warns   with the name of each result that cannot be read; the others are written
    """
    if form not in FORMS:
        raise InputError(f"expected one of {', '.join(FORMS)}; got '{form}'{nearest(form, FORMS)}")
    if form == "mp4":
        ffmpeg_or_refuse()
    stored = run
    run = run if keep_names else NamelessRun(run.folder)
    if form == "html":
        yield write_report(run, folder / "report.html")
        return
    if form == "pdf":
        yield write_pdf(run, folder / "report.pdf")
        return
    if form == "dicom":
        yield from export_dicom(stored, folder)
        return
    cohort, rows = RunIndex(run), []
    sources = {str(row.get("array")): str(row.get("source") or "") for row in stored.rows()}
    for row, arrays in run.results():
        rows.append(row)
        stem = folder / name_of(row)
        if form == "nifti":
            yield _nifti(row, arrays, stem, sources[row["array"]])
        elif form == "npz":
            path = stem.with_name(stem.name + ".npz")
            write_npz(path, *_marked(row, arrays))
            yield path
        else:
            pictures = {
                "png": lambda row, arrays: _pictures(row, arrays, cohort, kind),
                "figure": lambda row, arrays: _figures(row, arrays, cohort),
                "animation": lambda row, arrays: _moving(row, arrays, cohort),
                "mp4": lambda row, arrays: _movies(row, arrays, cohort),
            }[form](row, arrays)
            for label, content in pictures.items():
                path = stem.with_name(f"{stem.name}_{label}")
                write_atomic(path, content)
                yield path
    if form == "png":
        yield from _panels(run, rows, folder)


def name_of(row: Mapping[str, Any]) -> str:
    """Return a file name that is unique in the run: number, case, method or engine, target."""
    source = case_of(row)
    words = [row["array"].removesuffix(".npz"), source, engine_words(row), row["record"]["target"]]
    return re.sub(r"[^A-Za-z0-9.#+-]+", "-", "_".join(words).replace(":", "-"))


def case_of(row: Mapping[str, Any]) -> str:
    """Return the case as part of a file name; the file of its image where it has no name."""
    name = Path(str(row.get("case") or row.get("source") or "image")).name
    return re.sub(r"(\.[A-Za-z]\w{0,4}){1,2}$", "", name)[:80]


def grid_of(row: Mapping[str, Any], arrays: Arrays) -> Grid:
    name = "affine" if row["kind"] == "heatmap" else "strip_affine"
    shape = arrays["values"].shape if row["kind"] == "heatmap" else arrays["frames"].shape[2:]
    return stored_grid(row, shape, arrays[name])


def _nifti(row: Mapping[str, Any], arrays: Arrays, stem: Path, source: str) -> Path:
    record, grid = row["record"], grid_of(row, arrays)
    values = arrays["values"] if row["kind"] == "heatmap" else arrays["frames"].mean(axis=1)
    path = stem.with_name(stem.name + ".nii.gz")
    about = f"contrafact {engine_words(row)} {record['target']}"
    if row["kind"] == "strip":
        about = f"{_frames_in_words(row)}; {about}"
    same = arrays["image"].shape[1:] == grid.shape
    write_nifti(path, values, grid, source=source if same else "", about=about)
    return path


def _frames_in_words(row: Mapping[str, Any]) -> str:
    """Return which frames are original or synthetic, short enough for a header."""
    kinds = frame_kinds(row)
    drawn = (
        "synthetic" if ORIGINAL not in kinds else f"frame {kinds.index(ORIGINAL)} original, others SYNTHETIC"
    )
    return f"{drawn} (of {len(kinds)})"


def _marked(row: Mapping[str, Any], arrays: Arrays) -> tuple[Arrays, Mapping[str, Any]]:
    """Return arrays and row with the kind of every frame added."""
    if row["kind"] != "strip":
        return arrays, row
    kinds = frame_kinds(row)
    return {**arrays, "frame_kinds": np.array(kinds)}, {**row, "frame_kinds": kinds}


def _pictures(row: Mapping[str, Any], arrays: Arrays, cohort: RunIndex, kind: str) -> dict[str, bytes]:
    window = tuple(row["window"])
    if row["kind"] == "heatmap":
        scale = cohort.map_scale(row, arrays["values"])
        values, grid = display_sign(row) * arrays["values"], grid_of(row, arrays)
        views = views_of(arrays["image"], values, grid, window=window, scale=scale.drawn, kind=kind)
        factor = f"_x{scale.factor:.0f}" if scale.words else ""
        more = (scale.words, map_flaw(arrays["values"], scale.drawn))
        planes = plane_names(grid) if len(grid.shape) == 3 else ()

        def drawn(name: str, pixels: Pixels) -> bytes:
            legend = legend_words(row, scale, kind if name.startswith(kind) else "signed")
            words = ". ".join(filter(None, (legend, *more)))
            if pixels.shape[2] == 4:  # to be laid over another picture: no strips
                return described_png(pixels, words)
            view = name.removeprefix(kind).strip("_").replace("_", ", ")
            above = ", ".join(filter(None, (engine_words(row), view)))
            axis = planes.index(view.split(", ")[-1]) if planes else 0
            return described_png(framed(large(pixels), above, legend, **image_measures(grid, axis)), words)

        return {f"{name}{factor}.png": drawn(name, pixels) for name, pixels in views.items()}
    kinds, made = frame_kinds(row), walk_pictures(row, arrays["frames"], grid_of(row, arrays))
    pictures = dict(zip(display_order(row), made, strict=True))
    return {
        f"frame-{i:02d}_{kinds[i]}.png": described_png(pictures[i], words)
        for i, words in enumerate(_captions(row))
    }


def _figures(row: Mapping[str, Any], arrays: Arrays, cohort: RunIndex) -> dict[str, bytes]:
    title, grid = str(row.get("case") or row["key"]), grid_of(row, arrays)
    if row["kind"] == "heatmap":
        sheet = heatmap_sheet(row, arrays, grid, cohort.map_scale(row, arrays["values"]))
        return {f"figure{suffix}": content for suffix, content in paper_files(sheet, title)}
    sheet = change_sheet(row, arrays, grid)
    files = {f"figure{suffix}": content for suffix, content in paper_files(sheet, title)}
    movies = _movies(row, arrays, cohort) if found_ffmpeg() else {}
    return files | {"frames.gif": frames_gif(row, arrays["frames"], grid)} | movies


def _captions(row: Mapping[str, Any]) -> list[str]:
    """Return the caption of every frame: its kind, its prediction, and the engine."""
    name = str(row.get("target_name") or row["record"]["target"])
    titles = [t if t.startswith(ORIGINAL) else f"{t}, not for diagnosis" for t in frame_titles(row)]
    made = f"engine {engine_words(row)}"
    return [f"{title}; {name} {level}; {made}" for title, level in zip(titles, levels(row), strict=True)]


def _moving(row: Mapping[str, Any], arrays: Arrays, cohort: RunIndex) -> dict[str, bytes]:
    grid = grid_of(row, arrays)
    if row["kind"] == "strip":
        return {"frames.gif": frames_gif(row, arrays["frames"], grid)}
    if arrays["values"].ndim == 2:
        return {}
    scale = cohort.map_scale(row, arrays["values"])
    factor = f"_x{scale.factor:.0f}" if scale.words else ""
    return {f"slices{factor}.gif": animation(slice_pictures(row, arrays, grid, scale))}


def _movies(row: Mapping[str, Any], arrays: Arrays, cohort: RunIndex) -> dict[str, bytes]:
    title, grid = str(row.get("case") or row["key"]), grid_of(row, arrays)
    if row["kind"] == "strip":
        return {"frames.mp4": walk_mp4(row, arrays["frames"], grid, title=title)}
    if arrays["values"].ndim == 2:
        return {}
    scale = cohort.map_scale(row, arrays["values"])
    factor = f"_x{scale.factor:.0f}" if scale.words else ""
    return {f"slices{factor}.mp4": slices_mp4(row, arrays, grid, scale, title=title)}


def _panels(run: Run, rows: list[dict[str, Any]], folder: Path) -> Iterator[Path]:
    """Write maps of one image by one method for several targets side by side on one scale."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["kind"] == "heatmap":
            key = (
                row["record"]["image"],
                row["record"]["model"],
                str(row.get("label") or row["record"]["method"]),
            )
            groups.setdefault(key, []).append(row)
    for (image_hash, _, label), members in groups.items():
        if len({row["record"]["target"] for row in members}) < 2:
            continue
        arrays = [run.arrays(row) for row in members]
        scale = signed_scale([a["values"] for a in arrays])
        window, image = tuple(members[0]["window"]), arrays[0]["image"]
        maps = [display_sign(row) * a["values"] for row, a in zip(members, arrays, strict=True)]
        if image.ndim == 4:  # one slice for all: the one with the most evidence over all maps
            at = telling_slice(np.sum([np.abs(m) for m in maps], axis=0), 0)
            image, maps = image[:, at], [m[at] for m in maps]
        drawn = [overlay(image, m, window=window, scale=scale, kind="signed") for m in maps]
        base = grey(image, window)
        if arrays[0]["image"].ndim == 4:
            grid = grid_of(members[0], arrays[0])
            drawn = [upright(d, grid, 0, grid.spacing_mm[1:]) for d in drawn]
            base = upright(base, grid, 0, grid.spacing_mm[1:])
        names = [_panel_name(row) for row in members]
        height = min(SIDE, max(LOW, len(large(base))))  # of wide images the width is SIDE
        pixels = panel([("image", base), *zip(names, drawn, strict=True)], scale=scale, height=height)
        source = case_of(members[0])
        path = folder / re.sub(r"[^A-Za-z0-9.#+_-]+", "-", f"panel_{source}_{label}_{image_hash[:8]}.png")
        told = [f"{_panel_name(row)}: orange is evidence {colour_names(row)[0]}" for row in members]
        write_atomic(path, described_png(pixels, f"one scale for all; {'; '.join(told)}"))
        yield path


def _panel_name(row: Mapping[str, Any]) -> str:
    """Return the target, with the meaning of orange where that is another class."""
    name = str(row.get("target_name") or row["record"]["target"])
    return name if display_sign(row) > 0 else f"{name} (orange {colour_names(row)[0]})"
