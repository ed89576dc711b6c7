"""A sample of `experiments.evaluate.fuzz`: every changed file is read, or refused in one line that names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="fuzzes ONNX too")
pytest.importorskip("SimpleITK", reason="fuzzes MetaImage and NRRD too")
pytest.importorskip("starlette", reason="fuzzes the file of a reader study too")
pytest.importorskip("pynetdicom", reason="fuzzes files to send too")

from contrafact.core.limits import set_largest_image
from experiments.evaluate.fuzz import GOOD, LARGEST, Seeds, attempt, clear, page, plan
from experiments.evaluate.fuzz_files import KINDS

FILES, SEED = 500, 7
WARNINGS = "ignore"


@pytest.fixture
def small() -> Iterator[None]:
    set_largest_image(LARGEST)
    yield
    set_largest_image()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Seeds:
    return Seeds(tmp_path_factory.mktemp("valid"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # libraries warn of what is refused
def test_a_changed_file_is_read_or_refused_in_one_line(tmp_path: Path, small: None, seeds: Seeds) -> None:
    wrong = []
    for number, kind in enumerate(plan(FILES, SEED)):
        folder = tmp_path / "case"
        folder.mkdir()
        path, changed = seeds.make(kind, number, SEED, folder)
        how, about = attempt(KINDS[kind].read, path, changed)
        wrong += [] if how in GOOD else [f"{number} {kind} [{changed}]: {how}: {about}"]
        folder.rename(tmp_path / str(number))
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_unchanged_file_of_each_kind_is_read(kind: str, small: None, seeds: Seeds) -> None:
    KINDS[kind].read(seeds.valid(kind) / seeds.entries[kind])


def test_files_are_the_same_each_time_and_every_kind_has_its_share(tmp_path: Path, seeds: Seeds) -> None:
    assert plan(700, 3) == plan(700, 3) != plan(700, 4)
    counts = {kind: plan(1000, 3).count(kind) for kind in KINDS}
    assert sum(counts.values()) == 1000
    assert min(counts.values()) >= 1
    assert counts["reader study"] > 1.5 * counts["npy"]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        seeds.make("npy", 5, 3, tmp_path / name)
    first, second = ([p.read_bytes() for p in sorted((tmp_path / n).iterdir())] for n in ("a", "b"))
    assert first == second != [(seeds.valid("npy") / "a.npy").read_bytes()]


def test_what_is_no_line_for_a_user_is_a_fault(tmp_path: Path) -> None:
    from contrafact.core import InputError

    path = tmp_path / "a.npy"

    def raising(error: BaseException) -> str:
        def read(_: Path) -> None:
            raise error

        return attempt(read, path, "a.npy")[0]

    assert raising(InputError("'a.npy' is empty; give another")) == "refused"
    assert raising(InputError("something is wrong")) == "unclear"
    assert raising(InputError("'a.npy' is not readable:")) == "unclear"
    assert raising(ValueError("a.npy")) == "foreign"
    assert raising(MemoryError()) == "memory"
    assert not clear("'a.npy'\nis empty", path, "a.npy")


def test_the_page_counts_every_outcome() -> None:
    from experiments.evaluate.fuzz import Outcome

    found = [Outcome(0, "npy", "a", "read"), Outcome(1, "npy", "a", "crash"), Outcome(2, "png", "a", "refused")]
    text = page(found, 60)
    assert "| npy | 2 | 1 | 0 | 0 | 0 | 0 | 1 | 0 | 0 |" in text
    assert "| **all** | 3 | 1 | 1 | 0 | 0 | 0 | 1 | 0 | 0 |" in text
