"""A long job in a process of its own: what it says is taken in as it comes, and it can be stopped.

Nothing here knows what the job is: a generator of messages, importable by its name.
"""

from __future__ import annotations

import _thread
import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from contrafact.core import ContrafactError

PATIENCE = 10.0  # seconds that a job has to end in order


class BackgroundJob:
    """A job that goes on.

    job    (*given) -> messages, importable; ended by KeyboardInterrupt where it is when it is cancelled
    hear   called in a thread for every message
    ended  called once, when no message comes any more: with "done", "cancelled" or "failed", and why
    """

    def __init__(
        self,
        job: Callable[..., Iterator[Any]],
        *given: Any,
        hear: Callable[[Any], None],
        ended: Callable[[str, str], None],
    ) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy locks of torch's threads
        inbox, said = context.Pipe(duplex=False)
        asked, self._door = context.Pipe(duplex=False)
        # No daemon: those may have no workers of their own.
        self._process = context.Process(target=_serve, args=(asked, said, job, given), daemon=False)
        self._process.start()
        said.close()
        asked.close()
        self._listener = threading.Thread(target=self._listen, args=(inbox, hear, ended), daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        return self._listener.is_alive()

    def cancel(self) -> None:
        """Ask it to end; what does not within its patience is killed. Comes back at once."""
        with contextlib.suppress(OSError):  # it has ended meanwhile
            self._door.close()
        killer = threading.Timer(PATIENCE, self._process.kill)
        killer.daemon = True
        killer.start()

    def close(self) -> None:
        """Cancel, and wait until it has ended."""
        if self.alive:
            self.cancel()
        self._listener.join(2 * PATIENCE)

    def _listen(
        self, inbox: Connection, hear: Callable[[Any], None], ended: Callable[[str, str], None]
    ) -> None:
        last: tuple[str, str] | None = None
        with contextlib.suppress(EOFError, ConnectionResetError), inbox:
            while True:
                kind, word = inbox.recv()
                if kind == "said":
                    hear(word)
                else:
                    last = (kind, word)
        self._process.join()
        ended(*(last or ("failed", f"its process died (exit code {self._process.exitcode}); out of memory?")))


def _serve(
    asked: Connection, said: Connection, job: Callable[..., Iterator[Any]], given: tuple[Any, ...]
) -> None:
    """The life of the process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=_wait_for_the_end, args=(asked,), daemon=True).start()
        for word in job(*given):
            said.send(("said", word))
    except KeyboardInterrupt:
        said.send(("cancelled", ""))
    except ContrafactError as error:
        said.send(("failed", " ".join(str(error).split())))
    except Exception as error:  # said to the parent, which tells the user
        said.send(("failed", f"{type(error).__name__}: {' '.join(str(error).split())}"))
    else:
        said.send(("done", ""))


def _wait_for_the_end(asked: Connection) -> None:
    """The other end closes to cancel, or because the parent is gone."""
    with contextlib.suppress(EOFError, OSError):
        asked.recv()
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(int(threading.main_thread().ident or 0), signal.SIGINT)  # wakes it where it waits
    else:
        _thread.interrupt_main()
