"""Child processes end with their parent, also where it was killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.connection import wait


def end_with_parent(*, grace_seconds: float = 0.0) -> None:
    """End this process when the parent has ended, in a thread, so that a computation does not outlive it.

    grace_seconds  time for this process to end by itself first
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        if grace_seconds:
            threading.Event().wait(grace_seconds)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
