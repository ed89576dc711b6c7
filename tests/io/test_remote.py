"""Images and tables behind an address: fetched once, when they are read, never from this machine."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from contrafact.cli.each_image import image_paths
from contrafact.core import InputError
from contrafact.io import read_cohort, read_image
from contrafact.io.remote import address_of, fetch_all, fetched, is_address, listed, place_of

pytest.importorskip("aiohttp")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        return

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path, list[str]]]:
    """A server of a folder: its address, the folder, and the paths that were asked for."""
    monkeypatch.setenv("CONTRAFACT_REMOTE", str(tmp_path / "fetched"))
    folder = tmp_path / "store"
    folder.mkdir()
    for number in range(3):
        grey = np.full((8, 8), 40 * number, dtype=np.uint8)
        Picture.fromarray(grey).save(folder / f"{number}.png")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    server.asked = list[str]()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder, server.asked  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_remote_image_is_read_as_a_file_and_fetched_once(store: tuple[str, Path, list[str]]) -> None:
    address, folder, asked = store
    for _ in range(2):
        image = read_image(f"{address}/2.png")
        np.testing.assert_array_equal(image.values, read_image(folder / "2.png").values)
    assert asked.count("/2.png") == 1
    assert address_of(place_of(f"{address}/2.png")) == f"{address}/2.png"


def test_a_remote_file_that_is_missing_is_one_line_and_leaves_nothing(
    store: tuple[str, Path, list[str]],
) -> None:
    address, _, _ = store
    with pytest.raises(InputError, match=r"absent\.png' cannot be fetched") as caught:
        read_image(f"{address}/absent.png")
    assert "\n" not in str(caught.value)
    assert not list(place_of(f"{address}/absent.png").parent.iterdir())


def test_the_command_takes_addresses(store: tuple[str, Path, list[str]]) -> None:
    address, folder, _ = store
    assert image_paths([Path(f"{address}/1.png"), folder / "0.png"]) == [
        place_of(f"{address}/1.png"),
        folder / "0.png",
    ]
    with pytest.raises(InputError, match="cannot be fetched"):
        image_paths([Path(f"{address}/absent.png")])


def test_a_pattern_is_listed_in_order(store: tuple[str, Path, list[str]]) -> None:
    address, _, _ = store
    assert [place.name for place in listed(f"{address}/*.png")] == ["0.png", "1.png", "2.png"]


def test_fetching_all_leaves_out_what_fails(store: tuple[str, Path, list[str]]) -> None:
    address, _, _ = store
    places = [place_of(f"{address}/{name}.png") for name in ("0", "absent", "1")]
    fetch_all([*places, Path("here.png")])
    assert [place.exists() for place in places] == [True, False, True]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_names_remote_files_and_reads_them_late(
    store: tuple[str, Path, list[str]], tmp_path: Path, kind: str
) -> None:
    address, _, asked = store
    table = tmp_path / "cohort.csv"
    lines = [f"{address}/{number}.png,p{number},{'sick' if number else 'well'},A" for number in range(3)]
    table.write_text("\n".join(["path,patient,label,site", *lines]))
    if kind == "parquet":
        duckdb = pytest.importorskip("duckdb")
        duckdb.sql(f"copy (from read_csv('{table}')) to '{tmp_path / 'cohort.parquet'}' (format parquet)")
        table = tmp_path / "cohort.parquet"
    cohort = read_cohort(table)
    assert not asked
    assert [case.patient for case in cohort] == ["p0", "p1", "p2"]
    assert [case.label for case in cohort] == ["well", "sick", "sick"]
    assert {case.extra["site"] for case in cohort} == {"A"}
    assert float(cohort.cases[1].read().values.max()) == 40


def test_a_remote_file_needs_its_patient(tmp_path: Path) -> None:
    table = tmp_path / "cohort.csv"
    table.write_text("path,label\ns3://bucket/a.dcm,sick")
    with pytest.raises(InputError, match="line 2 .* expected a patient"):
        read_cohort(table)


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/passwd",
        "local://x",
        "memory://x",
        "s3://bucket/../../x",
        "zip://a.png::http://h/b.zip",
        "s3://",
    ],
)
def test_an_address_never_leads_to_this_machine(address: str) -> None:
    with pytest.raises(InputError):
        place_of(address)


def test_a_path_is_no_address() -> None:
    assert not any(is_address(text) for text in ("images/a.png", "/data/a.png", "C://a.png", "a:b", "://x"))
    assert fetched(Path("absent.png")) == Path("absent.png")


def test_a_protocol_without_its_library_is_named() -> None:
    from contrafact.core import ContrafactError

    with pytest.raises(ContrafactError, match="nosuch"):
        fetched(place_of("nosuch://bucket/a.png"))
