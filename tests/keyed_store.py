"""A file system for fsspec whose files are keys in a table, as in an object store; it can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem


class KeyedStore(AbstractFileSystem):  # type: ignore[misc]
    """`shop://bucket/key`; `keys` holds what is stored, `failing` how often each key still fails, `asked` which
    keys were read."""

    protocol = "shop"
    cachable = False
    keys: dict[str, bytes]
    failing: dict[str, int]
    asked: list[str]

    @classmethod
    def begin(cls) -> None:
        """Forget everything."""
        cls.keys, cls.failing, cls.asked = {}, {}, []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(path).removeprefix("shop://")

    def unstrip_protocol(self, name: str) -> str:
        return f"shop://{self._strip_protocol(name)}"

    def _use(self, path: str) -> str:
        key = self._strip_protocol(path)
        if self.failing.get(key, 0) > 0:
            self.failing[key] -= 1
            raise ConnectionResetError("connection reset by peer")
        return key

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        base = self._strip_protocol(path).rstrip("/")
        begin, found = f"{base}/" if base else "", dict[str, dict[str, Any]]()
        for key, content in self.keys.items():
            if key.startswith(begin):
                name, slash, _rest = key[len(begin) :].partition("/")
                kind = {"type": "directory", "size": 0} if slash else {"type": "file", "size": len(content)}
                found[begin + name] = {"name": begin + name, **kind}
        if not found:
            raise FileNotFoundError(path)
        return list(found.values()) if detail else list(found)

    def find(self, path: str, detail: bool = False, **_: Any) -> Any:
        begin = self._strip_protocol(path).rstrip("/") + "/"
        found = {
            key: {"name": key, "type": "file", "size": len(content)}
            for key, content in self.keys.items()
            if key.startswith(begin)
        }
        return found if detail else list(found)

    def cat_file(self, path: str, **_: Any) -> bytes:
        key = self._use(path)
        self.asked.append(key)
        if key not in self.keys:
            raise FileNotFoundError(path)
        return self.keys[key]

    def get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        Path(lpath).write_bytes(self.cat_file(rpath))

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        self.keys[self._use(path)] = value

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())
