"""The copy of a study's run folder in an object store."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from contrafact.core import ContrafactWarning, InputError
from contrafact.io.lock import sole_writer
from contrafact.io.run_copy import brought, sent
from contrafact.study.shards import Shard, folder_of_parts

EVERY_SECONDS = 300.0  # between two copies of a run that goes on


@dataclass(slots=True)
class RunCopy:
    """Where a run, or one part of it, is copied to; nowhere where `address` is None."""

    address: str | None
    part: Shard | None = None
    last: float = field(default_factory=time.monotonic)

    @property
    def place(self) -> str:
        """The address of this run or part."""
        return f"{self.address}-shards/{self.part.name}" if self.part else str(self.address)

    def bring(self, out: Path, *, merge: bool = False) -> None:
        """Bring what the store has of this run, and, to merge, of all parts, beside what is here.

        raises  InputError where the store cannot be read, or another process writes the run folder
        """
        if self.address is None:
            return
        folder = self.part.folder(out) if self.part else out
        with sole_writer(folder):
            brought(self.place, folder)
        if not any(folder.iterdir()):
            folder.rmdir()
        if merge:
            brought(f"{self.address}-shards", folder_of_parts(out))

    def send_now_and_then(self, folder: Path) -> None:
        """Copy the run folder if the last copy is some minutes old; what fails is said, and the run goes on."""
        if time.monotonic() - self.last > EVERY_SECONDS:
            self.try_to_send(folder)
            self.last = time.monotonic()

    def try_to_send(self, folder: Path) -> None:
        """Copy the run folder; what fails is a warning."""
        try:
            self.send(folder)
        except InputError as error:
            warnings.warn(str(error), ContrafactWarning, stacklevel=2)

    def send(self, folder: Path) -> None:
        """Copy the run folder. Raise InputError where the store refuses it."""
        if self.address is not None:
            sent(folder, self.place)
