"""The machine and the versions, in words that fit any machine."""

import json
import os
import platform
import re
import subprocess
from pathlib import Path

from bench import install
from bench.candidates.base import PEERS, ROOT


def describe() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = f" ({model[1].strip()})" if model else ""
    return f"{os.cpu_count()} cores{processor}, {memory:.0f} GiB of memory, {platform.system()}"


def versions() -> dict[str, str]:
    """Each candidate's libraries with their versions, in one line, by the candidate's name."""
    return {
        "ours": _python(ROOT, "django", "djangorestframework", "httptools", "psycopg", "pyjwt", "uvloop"),
        "fastify": _node("fastify"),
        "fastapi": _python(PEERS / "fastapi", "fastapi", "uvicorn", "asyncpg", "pyjwt"),
        "django": _python(
            PEERS / "django", "django", "djangorestframework", "djangorestframework-simplejwt", "gunicorn", "psycopg"
        ),
        "kinto": _python(PEERS / "kinto", "kinto", "sqlalchemy", "psycopg2-binary", "gunicorn"),
        "pocketbase": _node("pocketbase"),
    }


def _python(folder: Path, *names: str) -> str:
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (folder / "requirements.txt").read_text(), re.MULTILINE))
    return f"Python {platform.python_version()}, " + ", ".join(f"{name} {locked[name]}" for name in names)


def _node(name: str) -> str:
    locked = json.loads((PEERS / name / "package.json").read_text())["dependencies"]
    packages = ", ".join(f"{package} {version}" for package, version in locked.items())
    return f"Node {_node_version()}, {packages}" if name != "pocketbase" else packages


def _node_version() -> str:
    try:
        node = install.program("node", "nodejs")
    except install.Missing:
        return "(not installed)"
    return subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip().lstrip("v")
