"""The documentation says what the code does: its tables, its defaults, its links, and its examples, which are run."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT, Server
from tests.tokens import token

API = PROJECT / "docs/api/user-data-set.md"
CONFIGURATION = PROJECT / "docs/configuration.md"
SETTINGS = PROJECT / "hypersecureid/settings.py"
PAGES = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("deploy/*.md")]


def examples(language: str, base_url: str) -> list[str]:
    """The API document's code in a language, for the service at `base_url`."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", API.read_text(), re.MULTILINE | re.DOTALL)
    return [block.replace("http://127.0.0.1:8000", base_url) for block in blocks]


def table(page: Path, heading: str) -> list[list[str]]:
    """The rows below a table's heading."""
    rows: list[list[str]] = []
    for part in re.findall(rf"^\| {re.escape(heading)} .*\n\|[-|]+\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE):
        rows += [[cell.strip() for cell in row.strip("|").split(" | ")] for row in part.splitlines()]
    return rows


def variables() -> dict[str, Any]:
    """What settings.py reads, and the defaults; Ellipsis where there is none."""
    found = {}
    for node in ast.walk(ast.parse(SETTINGS.read_text())):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = ast.unparse(node.func)
            if function == "_text" or function.startswith("env."):
                default = ast.unparse(node.args[1]) if len(node.args) > 1 else "..."
                found[node.args[0].value] = eval(default, {"__builtins__": {}})
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
    defaults = {name.strip("`"): default for name, _, default, _ in table(CONFIGURATION, "variable")}

    assert len(variables()) > 20
    assert defaults == {
        name: "required" if default is ... else f"`{written(default)}`" if written(default) else "none"
        for name, default in variables().items()
    }


def test_the_example_environment_names_every_variable_with_its_default() -> None:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    shown = dict(line.removeprefix("# ").split("=", 1) for line in lines if re.match(r"(# )?[A-Z_]+=", line))

    assert shown.keys() == variables().keys()
    for name, default in variables().items():
        if default is not ... and written(default):
            assert shown[name] == written(default), name


@pytest.mark.parametrize(("secret_key", "code"), [("random" * 10, 0), ("", 1)])
def test_the_example_environment_lacks_nothing_but_a_secret_key(tmp_path: Path, secret_key: str, code: int) -> None:
    lines = (PROJECT / ".env.example").read_text().splitlines()
    environment = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))

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

    assert {row[0].strip("`") for row in table(CONFIGURATION, "check")} == raised


def test_the_results_are_those_of_the_service() -> None:
    assert [(number, name) for number, name, _ in table(API, "result")] == [
        ("0", "success"),
        ("-1", "fail by token invalid"),
        ("-2", "fail by token expired"),
        ("-3", "fail by access denied"),
        ("-4", "fail by service temporary not valid"),
        ("-5", "fail by invalid parameters"),
        ("-6", "fail by key access denied"),
        ("-7", "fail by key invalid"),
    ]


def test_every_direct_dependency_earns_its_place() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]

    shown = [row[0].strip("`") for row in table(PROJECT / "docs/dependencies.md", "package")]

    assert shown == [re.split(r"[^A-Za-z0-9-]", requirement)[0] for requirement in wanted]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_no_link_is_broken(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"https?:", path):
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings], target


def test_the_files_that_the_readme_maps_are_there() -> None:
    named = re.findall(r"^\| `([^`]+)`", (PROJECT / "README.md").read_text(), re.MULTILINE)

    assert named
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_the_targets_that_the_documentation_names_exist() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"`make (?:-s )?([a-z0-9-]+)", page.read_text()):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


def test_the_curl_example_works(server: Server, stored: Any) -> None:
    [command] = examples("bash", server.url)
    [answer] = examples("json", server.url)

    done = subprocess.run(
        ["bash", "-euc", command], env=os.environ | {"TOKEN": token()}, capture_output=True, text=True, timeout=20
    )

    assert done.stdout == answer.strip(), done.stderr
    assert (stored.get().key, stored.get().value) == ("theme", "dark")


def test_the_python_example_works(server: Server, stored: Any) -> None:
    [code] = examples("python", server.url)
    namespace: dict[str, Any] = {}
    exec(code, namespace)

    namespace["set_value"](token(), "theme", "dark")
    with pytest.raises(RuntimeError, match=r"result -7: value_key must have 1 to 128 characters\."):
        namespace["set_value"](token(), "", "dark")

    assert (stored.get().key, stored.get().value) == ("theme", "dark")


def test_the_readme_call_works(server: Server, stored: Any) -> None:
    [command] = re.findall(r"^```bash\n(curl .*?)^```$", (PROJECT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    command = command.replace("http://127.0.0.1:8000", server.url).replace("$(make -s token)", token())

    done = subprocess.run(["bash", "-euc", command], capture_output=True, text=True, timeout=20)

    assert done.stdout == '{"result": 0}', done.stderr
    assert stored.count() == 1
