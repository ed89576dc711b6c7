"""A cohort described in Croissant, the JSON-LD in which catalogues of data sets read a data set."""

from __future__ import annotations

import csv
import hashlib
import mimetypes
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contrafact.core import InputError
from contrafact.io.cohort import Cohort, read_cohort
from contrafact.io.images import DICOM, SUFFIXES

VERSION = "http://mlcommons.org/croissant/1.0"
OTHER = "application/octet-stream"
ENDINGS = sorted(SUFFIXES, key=len, reverse=True)  # ".nii.gz" is one
TYPES = mimetypes.MimeTypes(())  # Python's own table, not the system's
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def cohort_card(
    path: str | Path,
    *,
    name: str,
    description: str,
    licence: str,
    url: str,
    patient: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the Croissant 1.0 description of a cohort, to be written as `croissant.json` beside it.

    path         a CSV or a folder, as `read_cohort` takes it; `patient` too
    description  in sentences; the numbers of images, patients and labels are added
    licence      its address, or its SPDX name
    url          of the page of the data set
    more         further properties, such as `version`, `citeAs`, `datePublished` and `creator`
    gives        JSON. It names the CSV with its SHA-256, its columns, and the kinds of image files; no value of
                 a column but the labels is in it, so no name of a file or of a patient
    raises       InputError as `read_cohort`, or for an empty text
    """
    texts = {"name": name, "description": description, "licence": licence, "url": url}
    for field in (field for field, text in texts.items() if not text.strip()):
        raise InputError(f"expected a {field} of the cohort; got an empty text")
    path = Path(path)
    cohort = read_cohort(path, patient=patient)
    table = None if path.is_dir() else path
    card: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": f"{description.rstrip()} {counted(cohort)}",
        "conformsTo": VERSION,
        "license": licence,
        "url": url,
        "distribution": [*([_table(table)] if table else []), *_images(cohort)],
    }
    card |= {"recordSet": [_records(table)]} if table else {}
    return card | dict(more or {})


def counted(cohort: Cohort) -> str:
    """Return the numbers of images, patients, labels and splits in a sentence."""
    labels = Counter(case.label or "none" for case in cohort)
    splits = Counter(case.extra["split"] for case in cohort if case.extra.get("split"))
    words = [f"{len(cohort)} images of {len({case.patient for case in cohort})} patients"]
    for what, found in (("labels", labels), ("splits", splits)):
        words += [f"{what} " + ", ".join(f"{k} ({n})" for k, n in sorted(found.items()))] if found else []
    return f"{'; '.join(words)}."


def _table(path: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": "cohort",
        "name": "cohort",
        "description": "One row for each image.",
        "contentUrl": path.name,
        "encodingFormat": "text/csv",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _images(cohort: Cohort) -> list[dict[str, Any]]:
    """Return a set of files for each kind of image; a series of DICOM files is a folder."""
    kinds = sorted({_ending(case.path) for case in cohort})
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"images{kind}",
            "name": f"images{kind}",
            "description": f"Images ({kind}).",
            "encodingFormat": _type(kind),
            "includes": f"**/*{kind}",
        }
        for kind in kinds
    ]


def _ending(path: Path) -> str:
    """Return the end of a file's name that says its kind, empty for DICOM files without one; of the folder of a
    series, that of DICOM."""
    if path.is_dir():
        return ".dcm"
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), "")
    return path.name[len(path.name) - len(ending) :]


def _type(ending: str) -> str:
    """Return the media type of files of an ending."""
    if ending.lower() in ("", *DICOM):
        return "application/dicom"
    kind, packed = TYPES.guess_type(f"image{ending}")
    return "application/gzip" if packed == "gzip" else kind or OTHER


def _records(table: Path) -> dict[str, Any]:
    """Return the columns of the table."""
    about = {"path": "The image, relative to the table.", "patient": "The patient.", "label": "The label."}
    if table.suffix.lower() == ".parquet":
        raise InputError(f"expected a CSV, or a folder; got '{table.name}': describe the cohort from its CSV")
    with table.open(encoding="utf-8-sig", newline="") as file:
        columns = [name for name in next(csv.reader(file)) if name]
    return {
        "@type": "cr:RecordSet",
        "@id": "cases",
        "name": "cases",
        "description": "One record for each image.",
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"cases/{column}",
                "name": f"cases/{column}",
                "description": about.get(column, f"The column {column}."),
                "dataType": "sc:Text",
                "source": {"fileObject": {"@id": "cohort"}, "extract": {"column": column}},
            }
            for column in columns
        ],
    }
