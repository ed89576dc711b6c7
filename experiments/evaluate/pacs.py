"""Test DICOM results end to end on this machine: export, send, read back, and display in OHIF.

    python -m experiments.evaluate.pacs                                          # Orthanc alone
    python -m experiments.evaluate.pacs --ohif FOLDER --picture docs/pictures/dicom.png

Needs Orthanc with its DICOMweb plug-in (Debian: orthanc, orthanc-dicomweb) and `contrafact[dicom,pacs]`. The
picture needs OHIF's built pages (`npm pack @ohif/app@3.13.2`, unpacked; FOLDER is its `dist`), Chromium and
playwright. All servers listen on 127.0.0.1 only and stop afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import itertools
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicomweb_client.api import DICOMwebClient
from PIL import Image as Picture
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

from contrafact import cli
from contrafact.core import Counterfactual, Grid, Heatmap, Image, Record
from contrafact.io import Run, read_image

SHAPE, SPACING, STEP = (20, 96, 80), (1.2, 1.0), 2.5
PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")
PATIENCE = 240_000  # milliseconds
VIEWPORT = (320, 135, 890, 595)  # of OHIF's page at 1280 by 800, within its words
MAP = "1.2.840.10008.5.1.4.1.1.30"


def draw_series(folder: Path) -> Path:
    """A CT series of an egg with a bright lesion off its middle, tilted, files in a shuffled order."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    values = np.where(z**2 + y**2 + x**2 < 0.8, 40.0, -1000.0)
    values += 260 * np.exp(-(z**2 + (y + 0.3) ** 2 + (x - 0.35) ** 2) / 0.03)
    rows, columns = np.array([np.cos(0.2), np.sin(0.2), 0]), np.array([0, 0, -1.0])
    folder.mkdir(parents=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for k, plane in enumerate(values):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid()
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.PatientName, data.PatientID, data.Modality, data.SeriesDescription = "Egg^Drawn", "E1", "CT", "Egg"
        data.PatientBirthDate = data.PatientSex = data.StudyID = data.AccessionNumber = ""
        data.ReferringPhysicianName = data.PositionReferenceIndicator = data.Manufacturer = ""
        data.StudyDate, data.StudyTime, data.SeriesNumber, data.InstanceNumber = "20200101", "0000", 1, k + 1
        data.ImageType, data.AcquisitionNumber, data.KVP = ["ORIGINAL", "PRIMARY", "AXIAL"], 1, 120
        place = np.array([-40.0, -30.0, 60.0]) + k * STEP * np.cross(rows, columns)
        data.ImagePositionPatient = [round(float(v), 5) for v in place]
        data.ImageOrientationPatient = [round(float(v), 6) for v in (*rows, *columns)]
        data.PixelSpacing, data.SliceThickness = list(SPACING), STEP
        data.Rows, data.Columns = plane.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleIntercept, data.RescaleSlope, data.WindowCenter, data.WindowWidth = 0, 1, 100, 500
        data.PixelData = plane.round().astype("<i2").tobytes()
        data.save_as(folder / f"{(k * 7) % SHAPE[0]:02d}.dcm", enforce_file_format=True)
    return folder


def explained(folder: Path, image: Image) -> Run:
    """A run with a map that follows the lesion's brightness, so that a shift is seen, and a counterfactual."""
    run = Run.create(folder, about={"title": "Egg", "bundles": [{"name": "none", "bundle": "0" * 16}]})
    record: Any = {"parameters": {}, "target": "class:1", "model": "m" * 16, "image": image.digest}
    record |= {"source": image.source, "versions": {"contrafact": "0"}}
    values = np.clip(image.values[0] - 60, 0, None) / 240
    values[0, :4, :6] = -0.5  # a corner, for the order of rows, columns and slices
    heat = Heatmap(values=values, grid=image.grid, record=Record(method="gradcam", **record))
    run.add("map", image, heat, answers=["lesion 97 %", "none 3 %"], target_name="lesion")
    frames = np.stack([image.values, np.minimum(image.values, 40)])
    plain: Any = {
        "reconstruction_error": 0.1,
        "above_tolerance": False,
        "outcome": "reached",
        "goal": -2.0,
        "origin": 0,
    }
    numbers = {name: np.array([0.0, -4.0]) for name in ("requested", "scores")} | {
        "latent_distance": np.array([0.0, 1.0])
    }
    made = Record(method="latent-walk", **record)
    strip = Counterfactual(
        frames=frames, reconstruction=frames[0], grid=image.grid, record=made, **plain, **numbers
    )
    run.add("strip", image, strip, target_name="lesion")
    return run


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[tuple[int, int]]:
    """Orthanc on two free ports of this machine: (web, DICOM)."""
    web, node = free_port(), free_port()
    folder.mkdir(parents=True)
    about = {
        "HttpPort": web, "DicomPort": node, "DicomAet": "ORTHANC", "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"), "DicomCheckCalledAet": True, "DicomAlwaysAllowStore": True,
        "Plugins": [place for place in PLUGINS if Path(place).exists()][:1], "OverwriteInstances": True,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "Host": "127.0.0.1"},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(about))
    words = [found_orthanc(), str(folder / "orthanc.json")]
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        for _ in range(600):
            asked = contextlib.closing(http.client.HTTPConnection("127.0.0.1", web, timeout=5))
            with contextlib.suppress(OSError), asked as line:
                line.request("GET", "/dicom-web/studies")
                if line.getresponse().status == 200:
                    break
            if process.poll() is not None:
                raise RuntimeError((folder / "orthanc.log").read_text()[-2000:])
            time.sleep(0.1)
        else:
            raise RuntimeError("expected Orthanc with its DICOMweb plug-in; it gives no studies")
        yield web, node
    finally:
        process.terminate()
        process.wait(20)


def found_orthanc() -> str:
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin") or ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def compare(web: int, run: Run, image: Image) -> dict[str, int]:
    """What the archive gives back, object by object: every voxel in its place. Counts by modality."""
    client = DICOMwebClient(f"http://127.0.0.1:{web}/dicom-web")
    [study] = {s["0020000D"]["Value"][0] for s in client.search_for_studies()}
    found: dict[str, int] = {}
    for series in client.search_for_series(study):
        objects = client.retrieve_series(study, series["0020000E"]["Value"][0])
        kind = str(series["00080060"]["Value"][0])
        found[kind] = found.get(kind, 0) + len(objects)
        synthetic = str(getattr(objects[0], "SyntheticData", "NO")) == "YES"
        if objects[0].SOPClassUID == MAP:
            values = run.arrays(run.rows()[0])["values"]
            same(*placed_frames(objects[0]), values, image.grid)
        elif kind == "CT":
            frames = run.arrays(run.rows()[1])["frames"]
            step = round(float(str(objects[0].SeriesDescription).rsplit("step", 1)[1])) if synthetic else 0
            wanted = frames[1 if step else 0, 0] if synthetic else image.values[0]
            places = [np.array(o.ImagePositionPatient, dtype=float) for o in objects]
            planes = [o.pixel_array * float(o.RescaleSlope) + float(o.RescaleIntercept) for o in objects]
            same(places, planes, wanted, image.grid, banner=16 if synthetic else 0)
    return found


def placed_frames(data: Any) -> tuple[list[Any], list[Any]]:
    items = data.PerFrameFunctionalGroupsSequence
    places = [np.array(i.PlanePositionSequence[0].ImagePositionPatient, dtype=float) for i in items]
    pixels = np.frombuffer(data.FloatPixelData, "<f4").reshape(-1, data.Rows, data.Columns)
    return places, list(pixels)


def same(places: list[Any], planes: list[Any], wanted: Any, grid: Grid, *, banner: int = 0) -> None:
    """Frames at their positions equal the slices of `wanted` that lie there, between the rows of banners."""
    corner = np.diag([-1.0, -1, 1, 1]) @ grid.affine  # LPS, as DICOM
    at = [round(float((np.linalg.inv(corner) @ [*place, 1])[0])) for place in places]
    if sorted(at) != list(range(len(wanted))):
        raise AssertionError(f"expected one frame for each of {len(wanted)} slices; got {sorted(at)}")
    for k, place, plane in zip(at, places, planes, strict=True):
        np.testing.assert_allclose(place, (corner @ [k, 0, 0, 1])[:3], atol=1e-3)
        rows = slice(banner, len(plane) - banner)
        np.testing.assert_allclose(plane[rows], wanted[k][rows], atol=1.0 if banner else 1e-3)


def round_trip(folder: Path) -> tuple[dict[str, int], Path]:
    """Export, send by both ways to an empty archive each, read back. Gives counts, and the folder to send."""
    source = draw_series(folder / "source")
    image = read_image(source)
    run = explained(folder / "run", image)
    run_words = ["export", str(run.folder), "--to", "dicom", "--out", str(folder / "dicom"), "--keep-patient"]
    if cli.main(run_words):
        raise AssertionError("the export failed")
    counts = []
    for way in ("web", "node"):
        with orthanc(folder / way) as (web, node):
            to = f"http://127.0.0.1:{web}/dicom-web" if way == "web" else f"127.0.0.1:{node}:ORTHANC"
            for what in (source, folder / "dicom"):
                if cli.main(["send", str(what), "--to", to]):
                    raise AssertionError(f"sending {what.name} failed")
            counts.append(compare(web, run, image))
    if counts[0] != counts[1]:
        raise AssertionError(f"STOW-RS and C-STORE differ: {counts}")
    return counts[0], folder


class Pages(SimpleHTTPRequestHandler):
    """OHIF's files, and the archive under /dicom-web: one address, as behind a hospital's proxy."""

    web = 0
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm"}  # noqa: RUF012

    def do_GET(self) -> None:
        if self.path.startswith("/dicom-web"):
            line = http.client.HTTPConnection("127.0.0.1", self.web, timeout=60)
            line.request("GET", self.path, headers={"accept": self.headers.get("accept", "*/*")})
            answer = line.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers.get("content-type", ""))
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif self.path.split("?")[0] == "/app-config.js":
            body = f"window.config = {json.dumps(SETTINGS)};".encode()
            self.send_response(200)
            self.send_header("content-type", "text/javascript")
            self.end_headers()
            self.wfile.write(body)
        else:
            if not (Path(self.directory) / self.path.split("?")[0].lstrip("/")).is_file():
                self.path = "/index.html"
            super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


SETTINGS = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "defaultDataSourceName": "dicomweb",
    "investigationalUseDialog": {"option": "never"},
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "dicomweb",
            "configuration": {
                "friendlyName": "Orthanc",
                "name": "orthanc",
                "wadoUriRoot": "/dicom-web",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "supportsFuzzyMatching": False,
            },
        }
    ],
}


def look(folder: Path, ohif: Path, picture: Path) -> dict[str, Any]:
    """Open the study in OHIF, lay the map over the series, keep the screen; nothing may ask another host.

    gives  how far (pixels) the middle of the colour lies from the middle of the bright lesion, and its radius
    """
    from playwright.sync_api import sync_playwright

    with orthanc(folder / "looked") as (web, _):
        to = f"http://127.0.0.1:{web}/dicom-web"
        for what in (folder / "source", folder / "dicom"):
            cli.main(["send", str(what), "--to", to])
        handler = type("Here", (Pages,), {"web": web})
        server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: handler(*a, directory=str(ohif)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        study = pydicom.dcmread(next((folder / "source").iterdir())).StudyInstanceUID
        flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        try:
            with sync_playwright() as started:
                chromium = started.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
                page = chromium.new_page(viewport={"width": 1280, "height": 800})
                asked: list[str] = []
                page.on("request", lambda request: asked.append(request.url))
                here = f"http://127.0.0.1:{server.server_address[1]}"
                page.set_default_timeout(PATIENCE)
                page.goto(f"{here}/viewer?StudyInstanceUIDs={study}")
                found = _laid_over(page, picture)
                chromium.close()
        finally:
            server.shutdown()
        elsewhere = [a for a in asked if not a.startswith((here, "data:", "blob:"))]
        if elsewhere:
            raise AssertionError(f"OHIF asked {elsewhere[:3]}")
    return found


def _laid_over(page: Any, picture: Path) -> dict[str, Any]:
    page.wait_for_selector("canvas")
    page.wait_for_selector("text=PMAP")
    page.add_style_tag(content="[class*=shepherd]{display:none!important}")  # its tour lies over everything
    before = _shown(page, lambda shown: bool(_largest(_lesion(shown)).sum() > 500), keys=("ArrowDown",))
    page.locator("text=PMAP").first.dblclick()
    after = _shown(page, lambda shown: _laid(shown, before), keys=("ArrowDown", "ArrowUp"))
    page.screenshot(path=str(picture))
    masks = [_largest(_coloured(after, before)), _largest(_lesion(before))]
    colour, bright = (np.argwhere(mask).mean(axis=0) for mask in masks)
    radius = float(np.sqrt(masks[1].sum() / np.pi))
    return {"apart": float(np.linalg.norm(colour - bright)), "radius": radius, "coloured": int(masks[0].sum())}


def _lesion(shown: Any) -> Any:
    """What is brighter than the egg's own grey, which most of the picture has."""
    grey = shown.max(axis=-1)
    egg = grey[(grey > 50) & (grey < 150)]
    return (grey > np.median(egg) + 15) & (_colour(shown) < 20) if len(egg) else np.zeros(grey.shape, bool)


def _coloured(shown: Any, before: Any) -> Any:
    return (_colour(shown) > 10) & (_colour(before) < 5) & (before.max(axis=-1) > 50)


def _laid(shown: Any, before: Any) -> bool:
    """Colour on a part, while the rest of the series is there still: not what OHIF shows as it loads."""
    egg = before.max(axis=-1) > 50
    there = (shown.max(axis=-1) > 50)[egg].mean() > 0.97
    return bool(there and 200 < _largest(_coloured(shown, before)).sum() < egg.sum() / 4)


def _colour(shown: Any) -> Any:
    return shown.max(axis=-1) - shown.min(axis=-1)


def _largest(mask: Any) -> Any:
    """The largest connected part."""
    parts, count = ndimage.label(mask)
    return parts == 1 + np.bincount(parts.ravel())[1:].argmax() if count else mask


def _shown(page: Any, ready: Callable[[Any], bool], *, keys: tuple[str, ...]) -> Any:
    """The viewport's picture, once it is ready; keys go to other slices until then, which also draws anew."""
    until, turn = time.monotonic() + PATIENCE / 1000, itertools.cycle(keys)
    while True:
        content = page.screenshot(clip=dict(zip(("x", "y", "width", "height"), VIEWPORT, strict=True)))
        found = np.asarray(Picture.open(io.BytesIO(content)).convert("RGB")).astype(int)
        if ready(found):
            return found
        if time.monotonic() > until:
            page.screenshot(path="ohif_failed.png")
            raise AssertionError("OHIF did not show what was expected: ohif_failed.png")
        page.keyboard.press(next(turn))
        page.wait_for_timeout(1000)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--ohif", type=Path, help="OHIF's dist folder; none: no picture")
    asked.add_argument("--picture", type=Path, default=Path("docs/pictures/dicom.png"))
    words = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts, place = round_trip(Path(folder) / "all")
        print(f"sent by STOW-RS and by C-STORE, read back, every voxel in its place: {counts}")
        if words.ohif:
            found = look(place, words.ohif.resolve(), words.picture)
            print(f"{words.picture}: {found}")
            if not found["apart"] < max(4.0, found["radius"]):
                raise SystemExit("the colour does not lie on the lesion")


if __name__ == "__main__":
    main()
