"""Pictures of results name their columns, and mark what a network made."""

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from experiments.evaluate.picture_sheet import COLUMN, GAP, sheet, wrapped


def tiles(count: int, side: int = 63) -> list[np.ndarray]:
    return [np.full((side, side), 40.0 * k) for k in range(count)]


def written(path: Path, **more: object) -> tuple[np.ndarray, str]:
    rows = {"removed": [tiles(3)], "added": [tiles(3), tiles(3)]}
    sheet(rows, ["image", "without the nodule", "readers"], path, **more)  # type: ignore[arg-type]
    with Picture.open(path) as file:
        return np.asarray(file.convert("RGB")), file.text["Description"]  # type: ignore[attr-defined]


def test_the_picture_names_its_columns_and_marks_what_is_made(tmp_path: Path) -> None:
    plain, words = written(tmp_path / "plain.png")
    marked, said = written(tmp_path / "marked.png", made=(1,))
    assert "SYNTHETIC" not in words
    assert said.startswith("removed. added. image. without the nodule (SYNTHETIC). readers")
    assert "SYNTHETIC · NOT FOR DIAGNOSIS" in said
    middle = slice(COLUMN + GAP, 2 * COLUMN + GAP)
    amber = (np.abs(marked.astype(int) - (138, 58, 0)).sum(axis=2) < 60).sum(axis=0)
    above = (np.abs(marked[:60].astype(int) - (138, 58, 0)).sum(axis=2) < 60).sum(axis=0)
    assert above[middle].sum() > 20 and above[:COLUMN].sum() == 0 == above[2 * COLUMN + 2 * GAP :].sum()
    assert amber.sum() > above.sum(), "the foot says what the mark means"
    assert not (np.abs(plain.astype(int) - (138, 58, 0)).sum(axis=2) < 60).any()


def test_no_word_covers_a_tile(tmp_path: Path) -> None:
    pixels, _ = written(tmp_path / "marked.png", made=(1, 2))
    for k in range(3):
        column = pixels[:, k * (COLUMN + GAP) : k * (COLUMN + GAP) + COLUMN]
        whole = (column == 40 * k).all(axis=(1, 2)).sum()
        assert whole == 3 * COLUMN, "each of three tiles keeps all its rows"


def test_names_are_wrapped_to_their_column() -> None:
    assert wrapped("latent integrated gradients, mean", COLUMN) == ["latent integrated", "gradients, mean"]
    assert wrapped("integrated-gradients of it", COLUMN) == ["integrated-", "gradients of it"]
    assert wrapped("", COLUMN) == []
