"""`manage.py export_user_data` and `erase_user_data`: exactly one user's rows, whatever they are kept by."""

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from tests.admin.rows import NEIGHBOUR, keep, keep_one_of_each
from tests.tokens import USER
from userdata.models import StoredValue

pytestmark = pytest.mark.django_db


def run(command: str, *arguments: str) -> list[str]:
    """The lines that a command prints."""
    out = io.StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue().split("\n")[:-1]


@pytest.fixture
def kept() -> None:
    """Rows of all four kinds of one user, beside two others; the id of one of them begins with the user's."""
    for user in (USER, NEIGHBOUR, "someone else"):
        keep_one_of_each(user)
    keep("shared", "two\nlines \u2028 of \U0001f511", app="other-app", access_scope=1, revision=7)


def test_the_export_has_all_that_is_kept_for_the_user_and_nothing_else(kept: None) -> None:
    exported = [json.loads(line) for line in run("export_user_data", f"--user={USER}")]

    times = {"created_at", "updated_at"}
    assert [{name: value for name, value in row.items() if name not in times} for row in exported] == [
        row | {"value": "a value that is nobody's business", "app": "demo-app", "access_scope": 0, "revision": 1}
        if row["key"] != "shared"
        else row
        for row in (
            {"kind": "email", "user": USER, "email": "u1@example.com", "key": "by email"},
            {"kind": "idp", "user": USER, "provider": "google", "account": "77", "key": "by account"},
            {"kind": "user", "user": USER, "key": "basic"},
            {
                "kind": "user",
                "user": USER,
                "key": "shared",
                "value": "two\nlines \u2028 of \U0001f511",
                "app": "other-app",
                "access_scope": 1,
                "revision": 7,
            },
            {
                "kind": "wallet",
                "user": USER,
                "wallet": "0xabcdef0123456789abcdef0123456789abcdef01",
                "key": "by wallet",
            },
        )
    ]
    assert all(row[name].endswith("+00:00") for row in exported for name in times)


def test_the_export_is_plain_ascii_with_a_row_on_each_line(kept: None) -> None:
    lines = run("export_user_data", f"--user={USER}")

    assert len(lines) == 5
    assert all(line.isascii() for line in lines)


def test_of_a_user_without_data_nothing_is_exported(kept: None) -> None:
    assert run("export_user_data", f"--user={USER[:-1]}") == []


def test_erasing_deletes_all_that_is_kept_for_the_user_and_nothing_else(kept: None) -> None:
    assert run("erase_user_data", f"--user={USER}", "--no-input") == ["user: 2", "email: 1", "idp: 1", "wallet: 1"]

    assert {row.owner_id.split("\x1f")[0] for row in StoredValue.objects.all()} == {NEIGHBOUR, "someone else"}
    assert StoredValue.objects.count() == 8
    assert run("erase_user_data", f"--user={USER}", "--no-input") == ["user: 0", "email: 0", "idp: 0", "wallet: 0"]


@pytest.mark.parametrize(("answer", "left"), [("yes", 8), ("y", 13), ("", 13)])
def test_erasing_asks_first(kept: None, monkeypatch: pytest.MonkeyPatch, answer: str, left: int) -> None:
    asked: list[str] = []

    def reply(question: str) -> str:
        asked.append(question)
        return answer

    monkeypatch.setattr("builtins.input", reply)

    if answer == "yes":
        run("erase_user_data", f"--user={USER}")
    else:
        with pytest.raises(CommandError, match="Nothing was deleted"):
            run("erase_user_data", f"--user={USER}")

    assert asked == [f"Delete 5 keys of user {USER} for good? Type 'yes' to go on: "]
    assert StoredValue.objects.count() == left


def test_erasing_needs_somebody_to_answer(kept: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())

    with pytest.raises(CommandError, match="--no-input"):
        run("erase_user_data", f"--user={USER}")

    assert StoredValue.objects.count() == 13


@pytest.mark.parametrize("command", ["export_user_data", "erase_user_data"])
@pytest.mark.parametrize("user", ["", f"{USER}\x1fgoogle", "u1\n", "u1\udc80"])
def test_what_is_no_user_s_id_is_refused(kept: None, command: str, user: str) -> None:
    with pytest.raises(CommandError, match="sub of a token"):
        run(command, f"--user={user}", *(["--no-input"] if command == "erase_user_data" else []))

    assert StoredValue.objects.count() == 13


@pytest.mark.django_db(transaction=True)
def test_erasing_waits_for_a_write_of_the_same_rows_without_a_deadlock(kept: None, database_url: str) -> None:
    """The service locks rows in the order of owner and key; so does this."""
    touch = "UPDATE userdata_storedvalue SET value = '' WHERE owner_id LIKE %s AND key = %s"
    with ThreadPoolExecutor(1) as elsewhere, psycopg.connect(database_url) as writer:
        writer.execute("SET lock_timeout = '3s'")
        writer.execute(touch, [f"{USER}\x1f%", "by email"])
        erased = elsewhere.submit(erase_elsewhere)
        wait_until_one_waits_for_a_lock(database_url)
        writer.execute(touch, [f"{USER}\x1f%", "by wallet"])  # a deadlock, had that one been locked before
        writer.commit()

        assert erased.result(10) == ["user: 2", "email: 1", "idp: 1", "wallet: 1"]


def erase_elsewhere() -> list[str]:
    try:
        return run("erase_user_data", f"--user={USER}", "--no-input")
    finally:
        connection.close()


def wait_until_one_waits_for_a_lock(database_url: str) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(database_url, autocommit=True) as observer:
        for _ in range(500):
            if observer.execute(waiting).fetchone() == (1,):
                return
            time.sleep(0.01)
    raise AssertionError("nobody waits")
