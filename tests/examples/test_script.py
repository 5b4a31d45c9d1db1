"""examples/settings-script, run as a user would, against the real service."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import Server, free_port
from tests.examples.servers import EXAMPLES, ServiceFront, busy
from tests.tokens import USER, token

SCRIPT = EXAMPLES / "settings-script" / "settings.py"


def run(api: str, *arguments: str, bearer: str | None = "") -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    given = {} if bearer is None else {"TOKEN": bearer or token()}
    done = subprocess.run(
        [sys.executable, "-I", SCRIPT, *arguments],  # -I: with the standard library alone
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "API": api} | given,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_setting_is_kept_read_listed_and_deleted(server: Server, stored: Any) -> None:
    assert run(server.url, "set", "theme", "dark ✓") == (0, "", "")
    assert run(server.url, "set", "draft", "", "--private") == (0, "", "")

    assert sorted(stored.values_list("owner_kind", "owner_id", "key", "value", "access_scope")) == [
        ("user", USER, "settings/draft", "", 0),
        ("user", USER, "settings/theme", "dark ✓", 1),
    ]
    assert run(server.url, "get", "theme") == (0, "dark ✓\n", "")
    assert run(server.url, "get", "draft") == (0, "\n", "")
    assert run(server.url, "list") == (0, "private\tdraft\npublic\ttheme\n", "")
    assert run(server.url, "delete", "theme", "draft") == (0, "", "")
    assert run(server.url, "list") == (0, "", "")
    assert not stored.exists()


def test_what_is_not_there_has_an_exit_code_of_its_own(server: Server, stored: Any) -> None:
    assert run(server.url, "get", "theme") == (1, "", "There is no such setting.\n")
    assert run(server.url, "set", "theme", "dark") == (0, "", "")

    assert run(server.url, "delete", "theme", "font") == (1, "", "There is no setting font.\n")

    assert not stored.exists()


def test_what_other_apps_share_is_listed_to_the_end_and_read(server: Server, stored: Any) -> None:
    shared = [f"k{number:03}" for number in range(250)]
    for key in shared:
        stored.create(owner_kind="user", owner_id=USER, key=key, value=f"v{key}", app="other/app", access_scope=1)
    stored.create(owner_kind="user", owner_id=USER, key="secret", value="x", app="other/app", access_scope=0)

    assert run(server.url, "shared") == (0, "".join(f"other%2Fapp/{key}\n" for key in shared), "")
    assert run(server.url, "shared", "other%2Fapp/k100") == (0, "vk100\n", "")
    assert run(server.url, "shared", "other%2Fapp/secret") == (1, "", "There is no such setting.\n")


def test_the_key_of_another_app_is_refused(server: Server, stored: Any) -> None:
    assert run(server.url, "set", "theme", "dark", bearer=token(azp="other-app")) == (0, "", "")

    code, _, problem = run(server.url, "set", "theme", "light")

    assert (code, stored.get().value) == (5, "dark")
    assert problem.startswith("Another app of the user owns this setting")
    assert "(result -6)" in problem


def test_a_bad_name_or_value_is_refused_with_the_rule(server: Server, stored: Any) -> None:
    code, _, problem = run(server.url, "set", "a\tb", "x")
    assert code == 5
    assert re.fullmatch(r"This is no name for a setting\. \(result -7\) value_key must not .* control .*\n", problem)

    code, _, problem = run(server.url, "get", *["theme"] * 2)
    assert code == 2
    assert "usage" in problem
    assert not stored.exists()


@pytest.mark.parametrize(
    ("bearer", "problem"),
    [
        pytest.param("not\na token", "There is no access token in the environment variable TOKEN.", id="no token"),
        pytest.param("no.to.ken", "The token is not accepted. (result -1)", id="invalid"),
        pytest.param(token(exp=1), "The token has expired: get a fresh one. (result -2)", id="expired"),
        pytest.param(token(scope="email user-data-get"), "The token lacks a scope: ", id="scope missing"),
    ],
)
def test_a_token_that_does_not_do_is_told_and_not_repeated(
    server: Server, stored: Any, bearer: str, problem: str
) -> None:
    code, out, said = run(server.url, "set", "theme", "dark", bearer=bearer)

    assert (code, out) == (3, "")
    assert said.startswith(problem)
    assert bearer not in said
    assert not stored.exists()


def test_without_a_token_nothing_is_asked(front: ServiceFront) -> None:
    problem = "There is no access token in the environment variable TOKEN.\n"
    assert run(front.url, "list", bearer=None) == (3, "", problem)

    assert front.passed_on == 0


def test_a_busy_service_is_asked_again(front: ServiceFront, stored: Any) -> None:
    front.fail(busy("0"), (503, b"<h1>Bad gateway</h1>", {"Retry-After": "0"}), busy("0"))

    assert run(front.url, "set", "theme", "dark") == (0, "", "")

    assert front.passed_on == 1
    assert stored.get().value == "dark"


def test_a_service_that_stays_busy_is_given_up(front: ServiceFront, stored: Any) -> None:
    front.fail(*[busy("0")] * 4)

    assert run(front.url, "set", "theme", "dark") == (4, "", "The service is busy. Try again in a while. (result -4)\n")

    assert front.passed_on == 0
    assert not stored.exists()


@pytest.mark.parametrize("api", ["http://127.0.0.1:{port}", "no address"])
def test_a_service_that_can_not_be_reached_is_told(api: str) -> None:
    code, out, problem = run(api.format(port=free_port()), "list")

    assert (code, out) == (4, "")
    assert "can't be reached" in problem
