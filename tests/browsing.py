"""A run whose pages are known by construction, and a server with a plain client for them."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from contrafact.core import Counterfactual, Grid, Heatmap, Image, Record
from contrafact.io import Run
from contrafact.io.attribute_folder import write_attributes
from contrafact.viewer.security import cookie_name
from experiments.serving import serving as served

SIDE = 16
DOUBT = {
    "name": "small noise",
    "value": 0.9,
    "threshold": 0.5,
    "passed": False,
    "sentence": "Noise moves it.",
}
PASSED = {"name": "random weights", "value": 0.0, "threshold": 0.3, "passed": True, "sentence": "Another map."}
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


def ramp(channels: int = 1, level: float = 0.0) -> np.ndarray:
    """Grey levels that rise from left to right, 0 to 150, plus `level`."""
    return np.tile(np.arange(SIDE, dtype=np.float32) * 10 + level, (channels, SIDE, 1))


def record(method: str, image: str) -> Record:
    made: Any = {"parameters": {"a": 1}, "target": "class:1", "model": "m", "versions": {"contrafact": "9"}}
    return Record(method=method, image=image, **made)


def heatmap(name: str, strength: float = 1.0, method: str = "gradcam") -> Heatmap:
    values = np.zeros((SIDE, SIDE), dtype=np.float32)
    values[4:8, 4:8], values[10:12, 10:12] = strength, -strength / 2
    return Heatmap(values=values, grid=Grid((SIDE, SIDE)), record=record(method, name))


def strip(name: str, **changes: Any) -> Counterfactual:
    """Five frames; the last is 40 grey levels brighter than the image."""
    values: dict[str, Any] = {
        "frames": np.stack([ramp(level=10.0 * k) for k in range(5)]),
        "requested": np.arange(5.0),
        "scores": np.arange(5.0) * 0.9 - 2,
        "latent_distance": np.arange(5.0) / 4,
        "origin": 0,
        "reconstruction_error": 0.1,
        "above_tolerance": False,
        "outcome": "reached",
        "goal": 1.5,
        "reconstruction": ramp(level=1.0),
        "grid": Grid((SIDE, SIDE)),
        "record": record("latent-walk", name),
    }
    return Counterfactual(**{**values, **changes})


def planted_run(folder: Path, cases: int = 3, *, title: str = "Knees") -> Run:
    """Case 1, 2, ...: a map and a strip each; the second has a doubt, the third a failure and a follow-up."""
    run = Run.create(folder, about={"title": title})
    for n in range(1, cases + 1):
        name = f"Case {n}"
        image = Image(ramp(level=n), window=(0.0, 200.0), source=f"/data/knee{n}.png")
        about = {"case": name, "answers": [f"narrow {10 * n} %"], "target_name": "narrow"}
        card = [PASSED, DOUBT] if n == 2 else [PASSED]
        run.add(f"{name}/gradcam", image, heatmap(name, n), trust=card, **about)
        later = [(Image(ramp(level=50.0), source="later.png"), "narrow 80 %")] if n == 3 else []
        run.add(f"{name}/walk", image, strip(name), followup=later, trust=[PASSED], **about)
        if n == 3:
            said = {"method": "lime", "target": "class:1", "source": image.source, "error": "memory was short"}
            run.add_failure(f"{name}/lime", seconds=1.5, **said)
    return run


def planted_attributes(run: Run, name: str = "toy-model-class-1", count: int = 2, **about: Any) -> Path:
    """Attributes 0.0, 0.1, ... of a generator in the run, the second not followed by the second model."""
    folder = run.folder / "attributes" / name
    asked = {"bundle": "toy", "generator": "g", "model": "m", "target": "class:1", "images": 8, "seed": 0}
    told = {"model_name": "honest", "target_name": "narrow"}
    rows = [
        {
            "layer": 0,
            "coordinate": k,
            "move": 1.5,
            "effect": 2.0 - k,
            "interval": [1.5 - k, 2.5 - k],
            "again": 1.25 - k / 2,
            "second": 0.75 if k != 1 else -0.25,
            "flips": 0.5 if k != 1 else None,
        }
        for k in range(count)
    ]
    picture = io.BytesIO()
    Picture.fromarray(np.tile(np.arange(96, dtype=np.uint8) * 2, (48, 1))).save(picture, "png")
    write_attributes(folder, {**asked, **told, **about}, rows, [picture.getvalue()] * count)
    return folder


def many(run: Run, cases: int) -> Run:
    """The run with the lines of its first case again and again, under other names."""
    path = run.folder / "results.jsonl"
    lines = [row for row in run.rows() if row["case"] == "Case 1"]
    with path.open("a") as file:
        for n in range(len({row["case"] for row in run.rows()}) + 1, cases + 1):
            for row in lines:
                about = {"key": f"{n}/{row['key']}", "case": f"Case {n}", "source": f"/data/knee{n}.png"}
                file.write(json.dumps({**row, **about}) + "\n")
    return run


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Site:
    """Asks a server on this machine, byte for byte as told: no path is tidied, any Host is sent."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def link(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, *, method: str = "GET", body: Any = None, chunked: bool = False, **headers: str
    ) -> Answer:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        sent = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        try:
            line.putrequest(method, path, skip_host="host" in sent, skip_accept_encoding=True)
            if body is not None and not isinstance(body, bytes):
                sent, body = {"content-type": "application/json", **sent}, json.dumps(body).encode()
            if body is not None:
                sent |= {"transfer-encoding": "chunked"} if chunked else {"content-length": str(len(body))}
            for name, value in sent.items():
                line.putheader(name, value)
            line.endheaders()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before all was sent
                if body is not None:
                    line.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body)
            found = line.getresponse()
            return Answer(found.status, {k.lower(): v for k, v in found.getheaders()}, found.read())
        finally:
            line.close()


def entered(app: Any) -> Any:
    """The viewer as a browser sees it that has opened the link: every request brings the cookie."""
    [token] = app.tokens
    name = cookie_name(token)

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        others = [value for key, value in scope["headers"] if key == b"cookie"]
        cookie = b"; ".join([*others, f"{name}={token}".encode()])
        kept = [pair for pair in scope["headers"] if pair[0] != b"cookie"]
        await app({**scope, "headers": [*kept, (b"cookie", cookie)]}, receive, send)

    return asked


@contextlib.contextmanager
def serving(app: Any) -> Iterator[Site]:
    with served(app) as link:
        yield Site(int(link.rpartition(":")[2]))
