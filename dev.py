"""One file of the standard library: `python3 dev.py demo` and `python3 dev.py test`.

Both make `.venv` beside this file, install Contrafact there with the versions of constraints.txt,
and run; a second call starts at once. Further words go to the demo or to pytest.
"""

import hashlib
import os
import pathlib
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).parent.resolve()
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
EXTRAS = {"demo": "dicom,view", "test": "all,dev"}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in EXTRAS:
        print(__doc__)
        return 2
    job, words = sys.argv[1], sys.argv[2:]
    set_up(job)
    if job == "demo":
        return subprocess.call([str(BIN / "contrafact"), "demo", *words])
    return subprocess.call([str(BIN / "python"), "-m", "pytest", *words], cwd=ROOT)


def set_up(job: str) -> None:
    """Create the environment once per job and set of versions."""
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    key = hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()
    stamp = VENV / f".stamp-{job}"
    if stamp.exists() and stamp.read_text() == key:
        return
    print(f"setting up {VENV} (about a minute)", flush=True)
    if not (BIN / "python").exists():
        try:
            venv.create(VENV, with_pip=True)
        except (subprocess.CalledProcessError, SystemExit):  # Debian without python3-venv
            venv.create(VENV, with_pip=False, clear=True)
    install("torch")  # first: the plain build for this machine
    install("-e", f"{ROOT}[{EXTRAS[job]}]")
    stamp.write_text(key)


def install(*what: str) -> None:
    python = str(BIN / "python")
    own = subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0
    pip = [python, "-m", "pip"] if own else [sys.executable, "-m", "pip", "--python", python]
    subprocess.check_call([*pip, "install", "-q", "-c", str(ROOT / "constraints.txt"), *what])


if __name__ == "__main__":
    sys.exit(main())
