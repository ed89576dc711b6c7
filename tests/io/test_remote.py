"""Images and tables behind an address: fetched once, when they are read, never from this machine."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image as Picture

from contrafact.cli.each_image import image_paths
from contrafact.core import ContrafactError, InputError
from contrafact.io import read_cohort, read_image
from contrafact.io.remote import address_of, fetch_all, fetched, is_address, listed, local, path_of
from keyed_store import KeyedStore

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
    assert image.source == f"{address}/2.png".replace("://", ":/")
    assert address_of(path_of(f"{address}/2.png")) == f"{address}/2.png"


def test_a_remote_file_that_is_missing_is_one_line_and_leaves_nothing(
    store: tuple[str, Path, list[str]],
) -> None:
    address, _, _ = store
    with pytest.raises(InputError, match=r"absent\.png' cannot be fetched") as caught:
        read_image(f"{address}/absent.png")
    assert "\n" not in str(caught.value)
    assert not list(local(path_of(f"{address}/absent.png")).parent.iterdir())


def test_the_command_takes_addresses(store: tuple[str, Path, list[str]]) -> None:
    address, folder, asked = store
    given = [Path(f"{address}/1.png"), folder / "0.png"]
    assert image_paths(given) == given and asked == ["/1.png"]
    with pytest.raises(InputError, match="cannot be fetched"):
        image_paths([Path(f"{address}/absent.png")])


def test_a_pattern_is_listed_in_order(store: tuple[str, Path, list[str]]) -> None:
    address, _, _ = store
    assert [place.name for place in listed(f"{address}/*.png")] == ["0.png", "1.png", "2.png"]


def test_fetching_all_leaves_out_what_fails(store: tuple[str, Path, list[str]]) -> None:
    address, _, _ = store
    paths = [path_of(f"{address}/{name}.png") for name in ("0", "absent", "1", "0")]
    fetch_all([*paths, Path("here.png")])
    assert [local(path).exists() for path in paths] == [True, False, True, True]


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
        "local://x/y",
        "memory://x/y",
        "s3://bucket/../../x",
        "s3://bucket/..\\..\\x",
        "s3://bucket//x",
        "zip://a.png::http://h/b.zip",
        "https://user:secret@host/a.png",
        "https://host/a.png?signature=secret",
    ],
)
def test_an_address_of_this_machine_or_with_a_secret_is_refused(address: str) -> None:
    with pytest.raises(InputError) as caught:
        fetched(path_of(address))
    assert "secret" not in str(caught.value)


def test_a_path_is_no_address(tmp_path: Path) -> None:
    assert not any(
        is_address(text) for text in ("images/a.png", "/data/a.png", "C:/a.png", "a:b", "://x", "s3://")
    )
    there = tmp_path / "contrafact-remote" / "http" / "host" / "a.png"
    assert fetched(there) == there and address_of(there) is None


def test_addresses_that_differ_in_case_are_two_files() -> None:
    one, two = (local(path_of(f"s3://bucket/{name}.png")) for name in "aA")
    assert str(one).lower() != str(two).lower()


def test_two_threads_that_fetch_one_file_do_not_disturb_each_other(tmp_path: Path, monkeypatch: Any) -> None:
    fsspec.register_implementation("shop", KeyedStore, clobber=True)
    monkeypatch.setenv("CONTRAFACT_REMOTE", str(tmp_path))
    KeyedStore.begin()
    KeyedStore.keys["b/a.png"] = b"x" * 1000
    both = threading.Barrier(4, timeout=30)

    def slowly(_: KeyedStore, rpath: str, lpath: str, **__: Any) -> None:
        with Path(lpath).open("wb") as file:
            file.write(b"x" * 500)
            file.flush()
            both.wait()
            file.write(b"x" * 500)

    monkeypatch.setattr(KeyedStore, "get_file", slowly)
    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(fetched, [path_of("shop://b/a.png")] * 4))
    assert {place.read_bytes() for place in places} == {b"x" * 1000}
    assert [file.name for file in places[0].parent.iterdir()] == ["a.png"]


def test_a_folder_beside_the_files_of_a_pattern_is_left_out(tmp_path: Path, monkeypatch: Any) -> None:
    fsspec.register_implementation("shop", KeyedStore, clobber=True)
    KeyedStore.begin()
    KeyedStore.keys |= {"b/x/1.png": b"", "b/x/sub.png/2.png": b"", "b/x/0.png": b""}
    assert listed("shop://b/x/*.png") == [path_of(f"shop://b/x/{n}.png") for n in (0, 1)]
    assert listed("shop://b/none/*") == []


def test_a_parquet_table_is_read_as_its_csv(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    rows = "('s3://b/a.png', 1001.0::double, 'nan'::double), ('s3://b/b.png', 7.0, 2.5)"
    for name in ("c[1].parquet", "c1.parquet"):
        patient = "patient" if "[" in name else "patient + 1 as patient"
        duckdb.sql(
            f"copy (select path, {patient}, age from (values {rows}) as t(path, patient, age)) "
            f"to '{tmp_path / name}' (format parquet)"
        )
    cohort = read_cohort(tmp_path / "c[1].parquet")
    assert [(case.patient, case.extra["age"]) for case in cohort] == [("1001", ""), ("7", "2.5")]


def test_a_protocol_without_its_library_is_named() -> None:
    with pytest.raises(ContrafactError, match="nosuch"):
        fetched(path_of("nosuch://bucket/a.png"))
