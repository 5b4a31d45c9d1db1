"""The pages of the documentation: their tables and their examples."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conftest import PROJECT

API = PROJECT / "docs/api"
ACTIONS = ["set", "get", "list-get", "shared-list-get", "delete"]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "examples/**/*.md", "bench/README.md")
    for page in PROJECT.glob(pattern)
    if "node_modules" not in page.parts
)
SHOWN_ADDRESS = "http://127.0.0.1:8000"


class Block(NamedTuple):
    language: str
    text: str


class Table(NamedTuple):
    columns: list[str]
    rows: list[list[str]]


def blocks(page: Path) -> list[Block]:
    """A page's code, in its order."""
    return [Block(*each) for each in re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)]


def examples(page: Path, language: str, base_url: str) -> list[str]:
    """A page's code in one language, for the service at `base_url`."""
    return [text.replace(SHOWN_ADDRESS, base_url) for each, text in blocks(page) if each == language]


def tables(page: Path) -> Iterator[Table]:
    for head, body in re.findall(r"^(\|.*\|)\n\|[-|]+\|\n((?:\|.*\n?)+)", page.read_text(), re.MULTILINE):
        yield Table(_cells(head), [_cells(row) for row in body.splitlines()])


def table(page: Path, first_column: str) -> Table:
    """The rows of all tables whose first column has this heading; there must be one."""
    found = [each for each in tables(page) if each.columns[0] == first_column]
    assert found, f"{page.name} has no table with a column {first_column}"
    return Table(found[0].columns, [row for each in found for row in each.rows])


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split(" | ")]
