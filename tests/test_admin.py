"""The admin: stored keys are found and read there, by staff only, and never changed."""

import re
from html import unescape
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from tests.tokens import APP, USER, token
from userdata import admin
from userdata.models import StoredValue

pytestmark = pytest.mark.django_db

LIST = "/admin/userdata/storedvalue/"
HOSTILE = "<script>alert(1)</script>\"'&"
SECRET = "a value that is nobody's business"


@pytest.fixture(autouse=True)
def one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's test client spares the connection, whose transaction the test rolls back, in the same way."""
    monkeypatch.setattr("hypersecureid.middleware.close_old_connections", lambda: None)


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create(username="operator", is_staff=True, is_superuser=True))
    return client


def keep(key: str = "theme", value: str = SECRET, owner: str = USER, app: str = APP, **fields: Any) -> StoredValue:
    return StoredValue.objects.create(owner_kind="user", owner_id=owner, key=key, value=value, app=app, **fields)


def change(stored: StoredValue) -> str:
    return f"{LIST}{stored.pk}/change/"


def listed(client: Client, **query: str) -> set[str]:
    """The keys on the list's page."""
    html = client.get(LIST, query).content.decode()
    return {unescape(key) for key in re.findall(r"<a [^>]*><bdi>(.*?)</bdi></a>", html)}


def test_the_list_shows_keys_and_owners_and_no_value(staff: Client, django_assert_max_num_queries: Any) -> None:
    keep()

    with django_assert_max_num_queries(8) as queries:
        html = staff.get(LIST, {"_facets": "True"}).content.decode()

    assert all(text in html for text in ("theme", USER, APP, "private to the app"))
    assert SECRET not in html
    of_values = [query["sql"] for query in queries.captured_queries if "userdata_storedvalue" in query["sql"]]
    assert of_values
    assert not any('"value"' in sql or "COUNT" in sql for sql in of_values)


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


@pytest.mark.parametrize(
    ("search", "keys"),
    [
        pytest.param("", {"theme", "theme 2", "volume", "them_"}, id="nothing"),
        pytest.param(USER, {"theme", "theme 2"}, id="owner"),
        pytest.param(USER[:-1], set(), id="part of an owner"),
        pytest.param(f"{USER} theme", {"theme", "theme 2"}, id="beginning of an owner's key"),
        pytest.param(f"{USER} other-app", {"theme 2"}, id="an owner's keys of an app"),
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

    assert listed(staff, q=search) == keys


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        pytest.param({"access_scope__exact": "1"}, {"shared"}, id="access scope"),
        pytest.param({"owner_kind__exact": "user"}, {"old", "shared"}, id="owner kind"),
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
    keep("shared", app="other-app", access_scope=1)

    assert listed(staff, **query) == keys


def test_pages_follow_one_another_without_a_count(staff: Client) -> None:
    for number in range(51):
        keep(f"key {number}")

    assert len(listed(staff)) == 50
    assert listed(staff, p="2") == {"key 0"}
    assert listed(staff, p="3") == set()


@pytest.mark.django_db(transaction=True)
def test_a_search_without_end_is_given_up(staff: Client, monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setattr(admin, "LIST_SECONDS", 0.2)
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE userdata_storedvalue")
        response = staff.get(LIST, {"q": "anything"})

    assert (response.status_code, response["Location"]) == (302, LIST)
    assert "Nothing was found within" in staff.get(LIST).content.decode()


@pytest.mark.parametrize("way", ["change", "delete"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_nothing_can_be_changed(staff: Client, way: str, method: str) -> None:
    stored = keep()
    before = StoredValue.objects.values().get()

    response = getattr(staff, method)(f"{LIST}{stored.pk}/{way}/", {"key": "mine", "value": "mine", "post": "yes"})

    assert response.status_code == (200 if (way, method) == ("change", "get") else 403)
    assert StoredValue.objects.values().get() == before


def test_nothing_can_be_added_or_deleted_from_the_list(staff: Client) -> None:
    stored = keep()

    assert staff.get(f"{LIST}add/").status_code == 403
    assert staff.post(f"{LIST}add/", {"key": "mine"}).status_code == 403
    staff.post(LIST, {"action": "delete_selected", "_selected_action": [stored.pk], "post": "yes"})

    assert StoredValue.objects.count() == 1


def test_only_staff_gets_in() -> None:
    stored = keep()
    client = Client()
    client.force_login(User.objects.create(username="visitor"))

    for path in ("/admin/", LIST, change(stored)):
        assert client.get(path).status_code == 302
        assert Client().get(path)["Location"].startswith("/admin/login/")


def test_staff_sees_stored_keys_only_with_the_permission() -> None:
    stored = keep()
    client = Client()
    client.force_login(User.objects.create(username="clerk", is_staff=True))

    assert client.get("/admin/").status_code == 200
    assert client.get(LIST).status_code == 403
    assert client.get(change(stored)).status_code == 403


def test_a_bearer_token_logs_nobody_in() -> None:
    bearer = token(is_staff=True, is_superuser=True, sub="operator")
    User.objects.create(username="operator", is_staff=True, is_superuser=True)

    response = Client().get(LIST, headers={"Authorization": f"Bearer {bearer}"})

    assert response.status_code == 302


def test_a_form_without_the_csrf_token_is_refused() -> None:
    User.objects.create_superuser("operator", "operator@example.com", "correct horse")

    response = Client(enforce_csrf_checks=True).post(
        "/admin/login/", {"username": "operator", "password": "correct horse"}
    )

    assert response.status_code == 403


def test_users_and_groups_can_be_kept(staff: Client) -> None:
    Group.objects.create(name="support")

    for path in ("auth/user/", "auth/user/add/", "auth/group/", "auth/group/add/"):
        assert staff.get(f"/admin/{path}").status_code == 200
    assert "operator" in staff.get("/admin/auth/user/").content.decode()
    assert "support" in staff.get("/admin/auth/group/").content.decode()
