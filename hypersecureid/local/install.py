"""`make` fills .venv by this, and tells how far it is. It runs before anything is installed: standard library only.

python3 -m hypersecureid.local.install runtime|development
"""

import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

VENV = Path(".venv")


@dataclass(frozen=True)
class Kind:
    """What is installed. The figures are rounded from an installation of a fresh clone on Linux."""

    what: str
    files: tuple[str, ...]
    download: str
    disk: str
    time: str


KINDS = {
    "runtime": Kind(
        what="the service and its PostgreSQL",
        files=("requirements.txt", "requirements-local.txt"),
        download="55 MB",
        disk="240 MB",
        time="half a minute",
    ),
    "development": Kind(
        what="the tools for tests and checks",
        files=("requirements-dev.txt",),
        download="65 MB",
        disk="220 MB",
        time="half a minute",
    ),
}
PIP = ["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--require-hashes", "--progress-bar=off"]
CLEAR_LINE = "\r\033[K"


def main(name: str) -> int:
    kind = KINDS[name]
    print(
        f"Installing {kind.what} into {VENV}, once: about {kind.download} to download and {kind.disk} on disk,"
        f" {kind.time} on a usual connection.",
        file=sys.stderr,
    )
    if name == "runtime" and subprocess.run([sys.executable, "-m", "venv", "--clear", VENV]).returncode != 0:
        return 1
    files = [part for file in kind.files for part in ("-r", file)]
    pip = subprocess.Popen([VENV / "bin" / "python", *PIP, *files], stdout=subprocess.PIPE, text=True)
    assert pip.stdout
    show(pip.stdout, total=len({pin for file in kind.files for pin in pins(Path(file))}))
    if pip.wait() != 0:
        print("The installation failed; run make again to retry.", file=sys.stderr)
        return 1
    (VENV / name).touch()
    return 0


def pins(file: Path) -> set[str]:
    """The packages that a file pins, but those that are for other systems, as far as that can be seen."""
    lines = file.read_text().splitlines()
    foreign = re.compile(r"(sys_platform|platform_system|os_name) == '(?!linux|darwin|Linux|Darwin|posix)")
    return {line.split("==")[0] for line in lines if re.match(r"[a-zA-Z0-9]", line) and not foreign.search(line)}


def show(lines: Iterable[str], total: int) -> None:
    """Turn pip's words into one line that counts on a terminal, and into some lines elsewhere."""
    terminal = sys.stderr.isatty()
    seen: set[str] = set()
    for line in lines:
        match = re.match(r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)(?:\[.*\])?==", line)
        if match and (name := match[1].lower().replace("_", "-")) not in seen:
            seen.add(name)
            if terminal:
                print(f"{CLEAR_LINE}  {len(seen)} of {total}: {name}", end="", file=sys.stderr, flush=True)
            elif len(seen) % 20 == 0:
                print(f"  {len(seen)} of {total} packages", file=sys.stderr, flush=True)
        elif line.startswith("Installing collected packages"):
            print(f"{CLEAR_LINE if terminal else ''}  unpacking them", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
