"""What the core says at its limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from contrafact.core import InputError, read_result


def test_a_saved_result_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a saved result; got '.*no\.npz', which does not exist"):
        read_result(tmp_path / "no.npz")
    with pytest.raises(InputError, match="which is a folder"):
        read_result(tmp_path)
