"""The settings, checks, dependencies and operators' details of the documentation are those of the code."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hypersecureid import database_problems
from tests.conftest import PROJECT
from tests.docs.pages import blocks, table, tables
from userdata.identity import Configuration, Identity

CONFIGURATION = PROJECT / "docs/configuration.md"
OPERATIONS = PROJECT / "docs/operations.md"
EXAMPLE = PROJECT / ".env.example"


def variables() -> dict[str, Any]:
    """What settings.py reads, and the defaults; Ellipsis where there is none."""
    found = {}
    for node in ast.walk(ast.parse((PROJECT / "hypersecureid/settings.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("env.") and node.args:
            default = ast.unparse(node.args[1]) if len(node.args) > 1 else "..."
            found[ast.literal_eval(node.args[0])] = eval(default, {"__builtins__": {}})
    return found


def written(default: Any) -> str:
    """A default as one writes it into the environment."""
    match default:
        case bool():
            return str(default).lower()
        case list():
            return ",".join(default)
        case _:
            return str(default)


def test_every_variable_is_documented_with_its_default() -> None:
    defaults = {name.strip("`"): default for name, _, default, _ in table(CONFIGURATION, "variable").rows}

    assert len(variables()) > 25
    assert defaults == {
        name: "required" if default is ... else f"`{written(default)}`" if written(default) else "none"
        for name, default in variables().items()
    }


def test_the_example_environment_names_every_variable_with_its_default() -> None:
    lines = EXAMPLE.read_text().splitlines()
    shown = dict(line.removeprefix("# ").split("=", 1) for line in lines if re.match(r"(# )?[A-Z_]+=", line))

    assert shown.keys() == variables().keys()
    for name, default in variables().items():
        if default is not ... and written(default):
            assert shown[name] == written(default), name


@pytest.mark.parametrize(("secret_key", "code"), [("random" * 10, 0), ("", 1)])
def test_the_example_environment_lacks_nothing_but_a_secret_key(tmp_path: Path, secret_key: str, code: int) -> None:
    environment = dict(line.split("=", 1) for line in EXAMPLE.read_text().splitlines() if re.match(r"[A-Z_]+=", line))

    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | environment | {"SECRET_KEY": secret_key},
        capture_output=True,
        text=True,
    )

    assert done.returncode == code, done.stderr
    assert code == 0 or "SECRET_KEY" in done.stderr


def test_every_start_up_check_is_documented() -> None:
    raised = set(re.findall(r'id="(userdata\.[EW]\d{3})"', (PROJECT / "hypersecureid/checks.py").read_text()))

    assert {row[0].strip("`") for row in table(CONFIGURATION, "check").rows} == raised


def test_every_direct_dependency_earns_its_place() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    wanted = [*project["project"]["dependencies"], *groups["local"], *groups["dev"]]

    shown = [row[0].strip("`") for row in table(PROJECT / "docs/dependencies.md", "package").rows]

    assert shown == [re.split(r"[^A-Za-z0-9-]", each)[0] for each in wanted if isinstance(each, str)]


def test_each_settings_example_for_a_provider_is_accepted() -> None:
    shown = [text for language, text in blocks(PROJECT / "docs/identity.md") if language == "bash"]
    assert len(shown) >= 5
    for text in shown:
        named = dict(line.split("=", 1) for line in text.splitlines())
        assert named.keys() <= variables().keys()
        Identity(
            Configuration(
                named["JWT_ISSUER"],
                named["JWT_AUDIENCE"],
                named["JWT_ALGORITHMS"].split(","),
                jwks_url=named.get("JWT_JWKS_URL", ""),
            )
        )


def test_every_sentence_about_the_database_is_explained() -> None:
    sentences = {value for name, value in vars(database_problems).items() if name.isupper() and isinstance(value, str)}
    [shown] = [each.rows for each in tables(OPERATIONS) if each.columns[0] == "detail of the database"]

    assert len(sentences) > 5
    assert {row[0] for row in shown} == sentences | {"usable"}
