"""What stands in the blocks `bash` of the pages for app developers is run, in their order, and answers as they say."""

import json
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.conftest import PROJECT, Server
from tests.docs.conftest import MINT, environment
from tests.docs.pages import API, SHOWN_ADDRESS, Block, blocks

NEXT_BLOCK = "\x1e"
SET = "/user-data/by-user-id/set"

# What each page says has been stored before: app, key, value, access scope.
BEFORE: dict[Path, Sequence[tuple[str, str, str, int]]] = {
    API / "set.md": [],
    API / "get.md": [("notes", "notes-theme", "dark", 0)],
    API / "list-get.md": [("notes", "notes-draft", "", 0), ("notes", "notes-theme", "dark", 1)],
    API / "shared-list-get.md": [("mail", "mail-font", "serif", 1), ("mail", "mail-signature", "Ann", 1)],
    API / "delete.md": [("notes", "notes-theme", "dark", 0)],
    API / "storages.md": [],
    PROJECT / "docs/quick-start.md": [],
}


@pytest.mark.parametrize("page", BEFORE, ids=lambda page: page.name)
def test_the_commands_answer_as_the_page_says(
    page: Path, development_server: Server, notes: str, mail: str, stored: Any
) -> None:
    tokens = {"notes": notes, "mail": mail}
    for app, key, value, access_scope in BEFORE[page]:
        fields = {"value_key": key, "value_data": value, "access_scope": access_scope}
        answer = httpx.post(
            development_server.url + SET, json=fields, headers={"Authorization": f"Bearer {tokens[app]}"}
        )
        assert answer.json() == {"result": 0}

    shown = [each for each in blocks(page) if each.language in ("bash", "json", "http")]
    outputs = iter(run([text for language, text in shown if language == "bash"], development_server, notes))

    output, answers = "", 0
    for block in shown:
        if block.language == "bash":
            output = next(outputs)
        else:
            check(block, output)
            answers += 1
    assert answers >= 1


def test_the_readme_call_works(development_server: Server, notes: str, stored: Any) -> None:
    [command] = [text for language, text in blocks(PROJECT / "README.md") if text.startswith("curl ")]
    [answer] = re.findall(r"^The answer is `(.*?)`", (PROJECT / "README.md").read_text(), re.MULTILINE)

    [output] = run([command], development_server, notes)

    assert output == answer
    assert stored.get().key == "theme"


def run(commands: Sequence[str], server: Server, token: str) -> list[str]:
    """What each of the commands prints, in one shell, in which `make -s token` is what it stands for."""
    script = f"""
        make() {{ [ "$1 $2" = "-s token" ] && shift 2 && env "$@" {shlex.join(MINT)}; }}
        TOKEN={token}
    """ + f"printf '{NEXT_BLOCK}'\n".join(["", *commands])
    done = subprocess.run(
        ["bash", "-euc", script.replace(SHOWN_ADDRESS, server.url)],
        cwd=PROJECT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(NEXT_BLOCK)[1:]


def check(block: Block, output: str) -> None:
    if block.language == "json":
        assert json.loads(output) == json.loads(block.text)
    else:  # of headers, a page shows only those that it talks about
        lines = [line.lower() for line in output.splitlines()]
        assert [line for line in block.text.splitlines() if line.lower() not in lines] == []
