"""Tables that a spreadsheet opens without running anything."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import pytest

from contrafact.io.tables import csv_table, plain_cell


@pytest.mark.parametrize("text", ["=1+2", "+A1", "-A1", "@SUM(A1)", "\t=1", "\n=1", "  =1", "＝1+2"])
def test_a_text_that_begins_a_formula_is_quoted(text: str) -> None:
    assert plain_cell(text) == "'" + text
    table = csv_table([{"a": text, text: 1}])
    assert list(csv.reader(io.StringIO(table, newline=""))) == [["a", "'" + text], ["'" + text, "1"]]


@pytest.mark.parametrize("value", [-0.5, "-0.5", "-1e-3", "-", "", "a=b", 7, True])
def test_numbers_and_plain_texts_stay(value: Any) -> None:
    assert plain_cell(value) == value


def test_no_text_begins_a_row() -> None:
    assert csv_table([{"a": "x\r=1+2"}]) == 'a\n"x\n=1+2"\n'


def test_fields_are_chosen_and_what_is_unknown_is_empty() -> None:
    rows = [{"a": None, "b": math.nan, "c": 1}, {"c": 2}]
    assert csv_table(rows) == "a,b,c\n,,1\n,,2\n"
    assert csv_table(rows, ["c", "d"]) == "c,d\n1,\n2,\n"
