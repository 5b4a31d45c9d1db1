"""What the admin shows of stored keys, and how."""

from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from tests.admin.rows import LIST, OWNERS, SECRET, change, keep
from tests.tokens import APP, USER

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script>\"'&"


def test_the_list_shows_keys_and_owners_and_no_value(staff: Client, django_assert_max_num_queries: Any) -> None:
    keep()

    with django_assert_max_num_queries(8) as queries:
        html = staff.get(LIST, {"_facets": "True", "q": USER}).content.decode()

    assert all(text in html for text in ("theme", USER, APP, "private to the app"))
    assert SECRET not in html
    of_values = [query["sql"] for query in queries.captured_queries if "userdata_storedvalue" in query["sql"]]
    assert of_values
    assert not any('"value"' in sql or "COUNT" in sql for sql in of_values)


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("basic", "user <bdi>{user}</bdi>"),
        ("by email", "user <bdi>{user}</bdi>, email <bdi>u1@example.com</bdi>"),
        ("by account", "user <bdi>{user}</bdi>, provider <bdi>google</bdi>, account <bdi>77</bdi>"),
        ("by wallet", "user <bdi>{user}</bdi>, wallet <bdi>0xabcdef0123456789abcdef0123456789abcdef01</bdi>"),
    ],
)
def test_the_parts_of_an_owner_are_named(staff: Client, kind: str, shown: str) -> None:
    owner_kind, owner = OWNERS[kind]
    stored = keep(owner_kind=owner_kind, owner=owner)

    for path in (LIST, change(stored)):
        assert shown.format(user=USER) in staff.get(path).content.decode()


@pytest.mark.parametrize("kind", OWNERS)
def test_what_stands_between_the_parts_is_never_shown(staff: Client, kind: str) -> None:
    owner_kind, owner = OWNERS[kind]
    stored = keep(owner_kind=owner_kind, owner=owner)

    for path in (LIST, change(stored), f"{LIST}{stored.pk}/history/"):
        assert "\x1f" not in staff.get(path).content.decode()


def test_a_value_is_hidden_until_it_is_opened(staff: Client) -> None:
    html = staff.get(change(keep())).content.decode()

    before, details = html.split("<details>", 1)
    assert SECRET not in before.replace("&#x27;", "'")
    assert f"{len(SECRET)} bytes" in details
    assert SECRET in unescape(details.split("</details>")[0])


def test_a_long_value_is_cut_and_says_so(staff: Client) -> None:
    html = staff.get(change(keep(value="ж" * 100_000))).content.decode()

    assert "200,000 bytes" in html
    assert html.count("ж") == 10_000
    assert "cut after 10,000 characters" in html


def test_a_value_of_the_shown_length_is_not_cut(staff: Client) -> None:
    html = staff.get(change(keep(value="ж" * 10_000))).content.decode()

    assert html.count("ж") == 10_000
    assert "cut after" not in html


@pytest.mark.parametrize("field", ["key", "value", "owner", "app"])
def test_what_clients_chose_is_escaped(staff: Client, field: str) -> None:
    stored = keep(**{field: HOSTILE})

    pages = [staff.get(path).content.decode() for path in (LIST, change(stored), f"{LIST}{stored.pk}/history/")]

    assert not any("<script>alert" in page for page in pages)
    assert any("&lt;script&gt;alert" in page for page in pages)


def test_users_and_groups_can_be_kept(staff: Client) -> None:
    Group.objects.create(name="support")

    for path in ("auth/user/", "auth/user/add/", "auth/group/", "auth/group/add/"):
        assert staff.get(f"/admin/{path}").status_code == 200
    assert "operator" in staff.get("/admin/auth/user/").content.decode()
    assert "support" in staff.get("/admin/auth/group/").content.decode()
