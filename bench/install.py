"""What the benchmark needs on the machine: programs to be found, and environments that it makes itself."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path


class Missing(Exception):
    """Something is not installed; the message is one sentence that says how to get it."""


def program(name: str, package: str) -> Path:
    """The program's path. Raises `Missing`."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed; on Debian: apt-get install {package}")
    return Path(found)


def python_environment(folder: Path, requirements: Path) -> Path:
    """A virtual environment with exactly `requirements`; returns its folder of programs."""

    def build() -> None:
        venv.create(folder, with_pip=True)
        _run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r", requirements])

    _once(folder, requirements, build)
    return folder / "bin"


def node_modules(folder: Path, package: Path) -> Path:
    """`npm ci` of the package in folder `package`; returns the folder that it was done in."""

    def build() -> None:
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(package / name, folder)
        npm = program("npm", "npm")
        _run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", folder])

    _once(folder, package / "package-lock.json", build)
    return folder


def _once(folder: Path, lock: Path, build: Callable[[], None]) -> None:
    """Build `folder` anew unless that was done before from the same lock file."""
    stamp = folder / ".built-from"
    wanted = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    build()
    stamp.write_text(wanted)


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"CI": "1"})
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise Missing(f"{Path(command[0]).name} could not install the requirements: {lines[-1]}")
