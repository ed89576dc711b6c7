"""One file of the standard library: `python3 dev.py demo`, `python3 dev.py test`, `python3 dev.py check`,
`python3 dev.py docs`, `python3 dev.py licences`, `python3 dev.py sbom`.

Each makes `.venv` beside this file, installs Contrafact there with the versions of constraints.txt,
and runs; a second call starts at once. `check`: ruff, format, mypy and, where npm is there, the
TypeScript compiler and "the built pages equal their sources". `test`: the checks, then every test,
in a process per core. `docs`: the documentation site, in build/docs. `licences`: docs/licences.md anew.
`sbom`: the bill of materials of the environment, in build/sbom.json. Further words go to the demo, to
pytest or to Sphinx; with them, `test` runs no checks.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).parent.resolve()
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
EXTRAS = {"demo": "dicom,view", "docs": "all,docs", "sbom": "all"}  # the others: all,dev,docs
JOBS = ("demo", "test", "check", "docs", "licences", "sbom")
PYTHON = ("src", "tests", "experiments", "docs", "dev.py")
SITE = ROOT / "build" / "docs"
SBOM = ROOT / "build" / "sbom.json"
SBOM_TOOL = "cyclonedx-bom==7.5.0"  # in an environment of its own, which it would describe too


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in JOBS:
        print(__doc__)
        return 2
    job, words = sys.argv[1], sys.argv[2:]
    set_up(job)
    if job == "demo":
        return subprocess.call([str(BIN / "contrafact"), "demo", *words])
    if job == "docs":
        return subprocess.call(
            [str(BIN / "python"), "-m", "sphinx", "-WEnq", "--keep-going", *words, "docs", str(SITE)], cwd=ROOT
        )
    if job == "licences":
        return subprocess.call([str(BIN / "python"), str(ROOT / "docs" / "licence_table.py")])
    if job == "sbom":
        return write_sbom()
    if job == "check" or not words:
        wrong = check()
        if wrong or job == "check":
            return wrong
    environment = dict(os.environ)
    if not words:  # every test: a process per core, each with one thread
        words = ["-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile"]  # a process takes up to 2 GB
        environment["OMP_NUM_THREADS"] = "1"
    return subprocess.call([str(BIN / "python"), "-m", "pytest", *words], cwd=ROOT, env=environment)


def check() -> int:
    """Run every check, say which failed, and return how many did."""
    python = str(BIN / "python")
    failed = [
        " ".join(words)
        for words in (("ruff", "check", *PYTHON), ("ruff", "format", "--check", *PYTHON), ("mypy",))
        if subprocess.call([python, "-m", *words], cwd=ROOT)
    ]
    web = next(ROOT.glob("src/contrafact/*/web"))
    npm = shutil.which("npm")
    if npm is None:
        print("npm is not installed: TypeScript and the built pages are not checked", flush=True)
    elif subprocess.call([npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=web):
        print("npm ci failed (no registry?): TypeScript and the built pages are not checked", flush=True)
    else:
        before = built(web)
        if subprocess.call([npm, "run", "--silent", "build"], cwd=web) or built(web) != before:
            failed.append("npm run build: the built pages differ from their sources; commit what it wrote")
    for words in failed:
        print(f"failed: {words}", file=sys.stderr)
    return len(failed)


def write_sbom() -> int:
    """Write the bill of materials of `.venv`, by a tool in an environment of its own."""
    tool = ROOT / "build" / "sbom-tool"
    SBOM.parent.mkdir(exist_ok=True)
    venv.create(tool, with_pip=True)
    place = tool / BIN.name
    subprocess.check_call([str(place / "python"), "-m", "pip", "install", "-q", SBOM_TOOL])
    words = ["environment", str(BIN / "python"), "--pyproject", str(ROOT / "pyproject.toml"), "-o", str(SBOM)]
    return subprocess.call([str(place / "cyclonedx-py"), *words])


def built(web: pathlib.Path) -> dict[str, str]:
    """Digests of the built pages by name."""
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted((web / "dist").iterdir())}


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
    install("-e", f"{ROOT}[{EXTRAS.get(job, 'all,dev,docs')}]")
    stamp.write_text(key)


def install(*what: str) -> None:
    python = str(BIN / "python")
    own = subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0
    pip = [python, "-m", "pip"] if own else [sys.executable, "-m", "pip", "--python", python]
    subprocess.check_call([*pip, "install", "-q", "-c", str(ROOT / "constraints.txt"), *what])


if __name__ == "__main__":
    sys.exit(main())
