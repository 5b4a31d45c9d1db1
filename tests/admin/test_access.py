"""Who gets into the admin, with which cookies; that nothing is changed there; and that errors are logged."""

import logging
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.admin.rows import LIST, change, keep
from tests.application import Response
from tests.conftest import Server
from tests.tokens import token
from userdata.models import StoredValue

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/"


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
        assert Client().get(path)["Location"].startswith(LOGIN)


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

    response = Client(enforce_csrf_checks=True).post(LOGIN, {"username": "operator", "password": "correct horse"})

    assert response.status_code == 403


@pytest.mark.parametrize(
    ("environment", "secure"),
    [
        pytest.param({}, False, id="loopback"),
        pytest.param({"TRUST_PROXY_HEADERS": "true"}, True, id="behind a proxy with TLS"),
        pytest.param({"HOST": "0.0.0.0"}, True, id="reached from the network"),
    ],
)
def test_cookies_travel_by_tls_alone_wherever_there_is_tls(
    start_server: Callable[..., Server], environment: dict[str, str], secure: bool
) -> None:
    server = start_server(WORKERS="1", **environment)

    cookie = httpx.get(f"{server.url}{LOGIN}").headers["Set-Cookie"]

    assert ("; Secure" in cookie) is secure
    assert "; Path=/admin/" in cookie
    assert server.stop() == 0


def test_an_error_is_logged_with_its_cause(
    call: Callable[..., Response], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("on purpose")

    monkeypatch.setattr("django.contrib.admin.forms.AdminAuthenticationForm.__init__", fail)

    with caplog.at_level(logging.ERROR):
        response = call("GET", LOGIN)

    assert response.status_code == 500
    [record] = [record for record in caplog.records if record.name == "django.request"]
    assert record.exc_info
    assert str(record.exc_info[1]) == "on purpose"
    assert LOGIN in record.getMessage()
    assert b"on purpose" not in response.content
