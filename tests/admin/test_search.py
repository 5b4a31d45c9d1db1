"""Stored keys are found in the admin: by user, key, app and filters, also in a large table."""

from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client

from tests.admin.rows import LIST, NEIGHBOUR, OWNERS, keep, keep_one_of_each, listed
from tests.tokens import USER
from userdata import admin

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("search", "keys"),
    [
        pytest.param("", {"theme", "theme 2", "volume", "them_"}, id="nothing"),
        pytest.param(USER, {"theme", "theme 2"}, id="user"),
        pytest.param(USER[:-1], set(), id="part of a user's id"),
        pytest.param(f"{USER} theme", {"theme", "theme 2"}, id="beginning of a user's key"),
        pytest.param(f"{USER} other-app", {"theme 2"}, id="a user's keys of an app"),
        pytest.param("vol", {"volume"}, id="beginning of a key"),
        pytest.param("olume", set(), id="middle of a key"),
        pytest.param("Theme", set(), id="case counts"),
        pytest.param("them_", {"them_"}, id="no wildcards"),
        pytest.param("other-app", {"theme 2", "volume"}, id="app"),
        pytest.param("'theme 2'", {"theme 2"}, id="a word in quotes"),
        pytest.param('"theme', set(), id="an open quote"),
        pytest.param("' OR 1=1 --", set(), id="no SQL"),
        pytest.param("\0", {"theme", "theme 2", "volume", "them_"}, id="U+0000"),
    ],
)
def test_it_searches(staff: Client, search: str, keys: set[str]) -> None:
    keep("theme")
    keep("theme 2", app="other-app")
    keep("volume", owner="someone else", app="other-app")
    keep("them_", owner="someone else")

    assert set(listed(staff, q=search)) == keys


def test_a_user_s_id_finds_what_is_kept_by_user_email_account_and_wallet(staff: Client) -> None:
    keep_one_of_each()
    keep_one_of_each(NEIGHBOUR)
    keep_one_of_each("someone else")

    assert sorted(listed(staff, q=USER)) == sorted(OWNERS)
    assert listed(staff, q=f"{USER} 'by email'") == ["by email"]


def test_a_user_s_data_is_found_by_index(staff: Client, django_assert_max_num_queries: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO userdata_storedvalue (owner_kind, owner_id, key, value, app, access_scope)"
            " SELECT (array['user', 'email', 'idp', 'wallet'])[1 + n %% 4], 'user-' || n || %s, 'key', '', 'app', 0"
            " FROM generate_series(1, 20000) AS n",
            ["\x1fx"],
        )
        cursor.execute("ANALYZE userdata_storedvalue")
    keep_one_of_each()

    with django_assert_max_num_queries(8) as queries:
        assert sorted(listed(staff, q=USER)) == sorted(OWNERS)

    searches = [query["sql"] for query in queries.captured_queries if USER in query["sql"]]
    assert len(searches) == 2  # whether the first word is a user, and the page
    for sql in searches:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
            [plan] = cursor.fetchone()[0]
        nodes = scans(plan["Plan"])
        assert nodes
        assert all(node.get("Index Name") == "one_row_per_owner_and_its_key" for node in nodes), sql
        assert all("owner_id" in node["Index Cond"] for node in nodes)


def scans(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a plan that look for rows in the table or in an index."""
    looks = "Scan" in node["Node Type"] and node["Node Type"] != "Bitmap Heap Scan"
    inner = [found for part in node.get("Plans", []) for found in scans(part)]
    return [node, *inner] if looks else inner


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        pytest.param({"access_scope__exact": "1"}, {"shared"}, id="access scope"),
        pytest.param({"owner_kind__exact": "user"}, {"old"}, id="owner kind"),
        pytest.param({"owner_kind__exact": "email"}, {"shared"}, id="another owner kind"),
        pytest.param({"app": "other-app"}, {"shared"}, id="app"),
        pytest.param({"app": "other"}, set(), id="part of an app"),
        pytest.param({"app": "\0"}, set(), id="U+0000"),
        pytest.param({"updated_at_to": "2020-01-02"}, {"old"}, id="updated until that day"),
        pytest.param({"updated_at_to": "2020-01-01"}, set(), id="updated until the day before"),
        pytest.param({"updated_at_from": "2020-01-03"}, {"shared"}, id="updated since"),
        pytest.param({"updated_at_from": "2020-01-02", "updated_at_to": "2020-01-02"}, {"old"}, id="updated on a day"),
        pytest.param({"updated_at_from": "soon", "updated_at_to": "2020-13-99"}, {"old", "shared"}, id="no days"),
    ],
)
def test_it_filters(staff: Client, query: dict[str, str], keys: set[str]) -> None:
    keep("old", updated_at="2020-01-02T23:59:59Z")
    keep("shared", owner_kind="email", app="other-app", access_scope=1)

    assert set(listed(staff, **query)) == keys


def test_pages_follow_one_another_without_a_count(staff: Client) -> None:
    for number in range(51):
        keep(f"key {number}")

    assert len(listed(staff)) == 50
    assert listed(staff, p="2") == ["key 0"]
    assert listed(staff, p="3") == []


@pytest.mark.django_db(transaction=True)
def test_a_search_without_end_is_given_up(staff: Client, monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setattr(admin, "LIST_SECONDS", 0.2)
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE userdata_storedvalue")
        response = staff.get(LIST, {"q": "anything"})

    assert (response.status_code, response["Location"]) == (302, LIST)
    assert "Nothing was found within" in staff.get(LIST).content.decode()
