"""Read and write files: images, cohorts, weights, run folders."""

from contrafact.core.limits import largest_image, set_largest_image
from contrafact.io.cohort import Case, Cohort, read_cohort
from contrafact.io.images import SUFFIXES, images_in, read_ahead, read_image
from contrafact.io.run import SCHEMA, Run, open_run
from contrafact.io.stored_form import stored_form, stored_grid
from contrafact.io.weights import read_json, read_tensors, write_atomic, write_json, write_tensors

__all__ = [
    "SCHEMA",
    "SUFFIXES",
    "Case",
    "Cohort",
    "Run",
    "images_in",
    "largest_image",
    "open_run",
    "read_ahead",
    "read_cohort",
    "read_image",
    "read_json",
    "read_tensors",
    "set_largest_image",
    "stored_form",
    "stored_grid",
    "write_atomic",
    "write_json",
    "write_tensors",
]
