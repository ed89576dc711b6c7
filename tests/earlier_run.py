"""A run as the version before schema 2 wrote it: the arrays of each result hold its images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from contrafact.io import Run, open_run
from contrafact.io.packed_arrays import packed


def as_schema_1(folder: Path) -> Run:
    """Rewrite a run as one of schema 1, and return it."""
    run = open_run(folder)
    lines = []
    for row in run.rows():
        path = folder / "arrays" / row["array"]
        path.write_bytes(packed(run.arrays(row)))
        row["stored"] = [path.stat().st_size, path.stat().st_mtime_ns]
        del row["images"]
        lines.append(json.dumps(row) + "\n")
    (folder / "results.jsonl").write_text("".join(lines))
    (folder / "manifest.json").write_text(json.dumps({**run.manifest(), "schema": 1}))
    shutil.rmtree(folder / "images")
    return open_run(folder)
