"""What code of model files may run, and checks that paths stay in their folder and lead to files."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from contrafact.core.errors import InputError


@dataclass(frozen=True, slots=True)
class Trust:
    """What code may run because the user trusts its origin. Only the user sets these, never a file.

    scripts    open TorchScript files, which are programs, and trees of scikit-learn, whose numbers are followed
               unchecked (`--trust`, `trust=True`)
    factories  import and call factories outside the allow-list (`--trust-code`, `trust_code=True`)
    """

    scripts: bool = False
    factories: bool = False


UNTRUSTED = Trust()


def inside(folder: Path, name: object, *, what: str) -> Path:
    """Return the path of `name` in a folder; links are followed.

    what    description of the name for the error ("'weights' of a bundle")
    raises  InputError for a name that is not text, or a path that leaves the folder
    """
    if not isinstance(name, str) or "\0" in name:
        raise InputError(f"{what} must be the name of a file; got {name!r:.60}")
    path = folder / name
    try:
        within = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # a circle of links, a name that is too long
        raise InputError(
            f"{what} must be the name of a file; got {name!r:.60}, which cannot be opened"
        ) from error
    if not within:
        raise InputError(f"{what} must lie in '{folder}'; got '{name}', which leads out of it")
    return path


def resolved(path: Path, what: str) -> Path:
    """Return an absolute path with all links followed. Raise InputError for a circle of links, and for a name
    that no file can have; `what` describes the path ("a key of UIDs")."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"expected {what}; got '{path}', which cannot be opened") from error


def is_there(path: Path) -> bool:
    """Whether something lies at a path; nothing does where the name is longer than a file's can be."""
    try:
        return path.exists()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; none does whose name is longer than a file's can be."""
    return is_there(path) and path.is_dir()


def check_file(path: Path, what: str) -> None:
    """Raise InputError unless a path leads to a regular file with a readable name.

    what    description of the file for the error ("an image file")
    raises  InputError for a missing file, a folder, a pipe or device (reading one may never end), and a name
            that is not UTF-8, which no page, table or JSON file could hold
    """
    try:
        str(path).encode()
        mode = path.stat().st_mode
    except UnicodeEncodeError as error:
        raise InputError(f"expected {what} with a name in UTF-8; got {path.name!a}: rename it") from error
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise InputError(f"expected {what}; got '{path}', which does not exist") from error
    except OSError as error:
        raise InputError(f"expected {what}; got '{path}', which cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a device or a socket"
        raise InputError(f"expected {what}; got '{path}', which is {kind}")
