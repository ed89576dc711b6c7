"""Child processes end with the process that started them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")

POOL = """
import jobs_of_parent as jobs
from contrafact.jobs.pool import run_tasks
if __name__ == "__main__":
    list(run_tasks(["busy"], jobs.begin, {folder!r}))
"""
BACKGROUND = """
import time, jobs_of_parent as jobs
from contrafact.jobs.background import BackgroundJob
if __name__ == "__main__":
    job = BackgroundJob(jobs.pool_in_a_job, {folder!r}, hear=print, ended=print)
    time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "how"), [(POOL, signal.SIGKILL), (POOL, signal.SIGTERM), (BACKGROUND, signal.SIGKILL)]
)
def test_no_worker_outlives_its_parent(tmp_path: Path, code: str, how: Any) -> None:
    script = tmp_path / "parent.py"
    script.write_text(code.format(folder=str(tmp_path)))
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": path})
    file, ends = tmp_path / "pid", time.monotonic() + 120
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < ends and process.poll() is None
        time.sleep(0.05)
    worker = int(file.read_text())
    assert alive(worker)
    process.send_signal(how)
    process.wait(20)
    ends = time.monotonic() + 30
    while alive(worker):
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    from contrafact.cli import _orderly_end

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what runs in the background
    try:
        with _orderly_end():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
