"""Commands end in order: by SIGTERM as by Ctrl-C, and at once the second time."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

CODE = """
import sys, time
from contrafact import cli
def work():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("ending", flush=True)
        time.sleep({seconds})
cli.app = lambda *_, **__: work()
sys.exit(cli.main(["study"]))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("twice", [False, True])
def test_a_command_ends_in_order_and_the_second_time_at_once(how: signal.Signals, twice: bool) -> None:
    code = CODE.format(seconds=60 if twice else 0)
    pipes: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)  # type: ignore[call-overload]
    for word in ("begun\n", "ending\n")[: 1 + twice]:
        assert process.stdout.readline() == word
        process.send_signal(how)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    assert said == f"stopped{' at once' if twice else ''}; finished results are kept\n"
