"""One long job in a child process, which reports messages and can be cancelled.

The job is any importable function that yields messages.
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
from contrafact.jobs.parent import end_with_parent

PATIENCE = 10.0  # seconds that a cancelled job has to end before it is killed


class BackgroundJob:
    """A running job.

    job    (*arguments) -> messages, importable; cancelling raises KeyboardInterrupt in it
    hear   called in a thread for every message
    ended  called once after the last message, with "done", "cancelled" or "failed", and the reason
    """

    def __init__(
        self,
        job: Callable[..., Iterator[Any]],
        *arguments: Any,
        hear: Callable[[Any], None],
        ended: Callable[[str, str], None],
    ) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy locks of torch's threads
        inbox, outbox = context.Pipe(duplex=False)
        cancel_pipe, self._door = context.Pipe(duplex=False)
        # Not a daemon: a daemon may not start workers of its own.
        self._process = context.Process(target=_serve, args=(cancel_pipe, outbox, job, arguments), daemon=False)
        self._process.start()
        outbox.close()
        cancel_pipe.close()
        self._listener = threading.Thread(target=self._listen, args=(inbox, hear, ended), daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        """Whether the job may still report."""
        return self._listener.is_alive()

    def cancel(self) -> None:
        """Ask the job to end, and return at once; kill it if it still runs after `PATIENCE` seconds."""
        with contextlib.suppress(OSError):  # it has ended already
            self._door.close()
        killer = threading.Timer(PATIENCE, self._process.kill)
        killer.daemon = True
        killer.start()

    def close(self) -> None:
        """Cancel the job and wait until it has ended."""
        if self.alive:
            self.cancel()
        self._listener.join(2 * PATIENCE)

    def _listen(
        self, inbox: Connection, hear: Callable[[Any], None], ended: Callable[[str, str], None]
    ) -> None:
        last: tuple[str, str] | None = None
        with contextlib.suppress(EOFError, ConnectionResetError), inbox:
            while True:
                kind, message = inbox.recv()
                if kind == "said":
                    hear(message)
                else:
                    last = (kind, message)
        self._process.join()
        ended(*(last or ("failed", f"its process died (exit code {self._process.exitcode}); out of memory?")))


def _serve(
    cancel_pipe: Connection, outbox: Connection, job: Callable[..., Iterator[Any]], arguments: tuple[Any, ...]
) -> None:
    """Run the job in the child process and send its messages and its end."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with_parent(grace_seconds=PATIENCE)
    try:
        threading.Thread(target=_wait_for_cancel, args=(cancel_pipe,), daemon=True).start()
        for message in job(*arguments):
            outbox.send(("said", message))
    except KeyboardInterrupt:
        outbox.send(("cancelled", ""))
    except ContrafactError as error:
        outbox.send(("failed", " ".join(str(error).split())))
    except Exception as error:  # sent to the parent, which shows it
        outbox.send(("failed", f"{type(error).__name__}: {' '.join(str(error).split())}"))
    else:
        outbox.send(("done", ""))


def _wait_for_cancel(cancel_pipe: Connection) -> None:
    """Interrupt the main thread when the other end closes: to cancel, or because the parent has ended."""
    with contextlib.suppress(EOFError, OSError):
        cancel_pipe.recv()
    if hasattr(signal, "pthread_kill"):
        # Unlike `interrupt_main` this also interrupts a blocking wait.
        signal.pthread_kill(int(threading.main_thread().ident or 0), signal.SIGINT)
    else:
        _thread.interrupt_main()
