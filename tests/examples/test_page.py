"""examples/notes-web in Chromium, with the real service and a small provider of the tests' own.

`make e2e-keycloak` runs the page with a real Keycloak.
"""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.chromium import Browser
from tests.examples.notes_page import NotesPage
from tests.examples.servers import NotesWeb, Provider, ServiceFront, busy, serving
from tests.tokens import USER, token

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, provider: Provider, front: ServiceFront) -> Iterator[NotesPage]:
    with serving(NotesWeb(provider.url, front.url)) as site:
        page = NotesPage(browser, site.url)
        page.open()
        yield page


@pytest.fixture
def logged_in(page: NotesPage) -> NotesPage:
    page.log_in()
    page.wait_until_shown()
    return page


def test_a_user_logs_in_with_pkce_and_out(page: NotesPage, provider: Provider) -> None:
    assert not page.is_logged_in()

    page.log_in()
    page.wait_until_shown()

    assert page.user() == "user@example.com"
    assert provider.grants == ["authorization_code"]
    assert provider.asked_for["scope"] == "openid email user-data-set user-data-get"
    assert re.fullmatch("[A-Za-z0-9_-]{43}", provider.asked_for["code_challenge"])
    assert page.browser.driver.current_url == f"{page.url}/"  # the code is gone from the address

    page.log_out()

    assert not provider.session
    assert page.browser.driver.execute_script("return sessionStorage.length") == 0


def test_theme_and_notes_are_kept_for_the_user(logged_in: NotesPage, stored: Any) -> None:
    logged_in.choose_theme("dark")
    logged_in.write("first ✓")
    logged_in.write("second")
    logged_in.rewrite(1, "first, changed")
    logged_in.browser.screenshot("notes")

    assert logged_in.status() == ""
    assert logged_in.notes() == ["second", "first, changed"]
    rows = list(stored.order_by("key").values_list("owner_kind", "owner_id", "value", "app", "access_scope"))
    assert rows == [
        ("user", USER, "first, changed", "demo-app", 0),
        ("user", USER, "second", "demo-app", 0),
        ("user", USER, "dark", "demo-app", 1),
    ]
    *notes, theme = stored.order_by("key").values_list("key", flat=True)
    assert theme == "notes-web/theme"
    assert all(re.fullmatch(r"notes-web/note/20\d\d-.*Z-[0-9a-f]{8}", key) for key in notes)

    logged_in.browser.driver.execute_script("sessionStorage.clear()")  # as in another browser
    logged_in.open()
    logged_in.log_in()
    logged_in.wait_until_shown()

    assert logged_in.theme() == "dark"
    assert logged_in.notes() == ["second", "first, changed"]

    logged_in.delete(0)

    assert logged_in.notes() == ["first, changed"]
    assert stored.count() == 2
    assert logged_in.browser.complaints() == []


def test_the_page_comes_from_its_own_server_alone(
    logged_in: NotesPage, provider: Provider, front: ServiceFront
) -> None:
    origins = {url.split("/", 3)[2] for url in logged_in.browser.requests()}

    assert {f"http://{origin}" for origin in origins} == {logged_in.url, provider.url, front.url}


def test_more_notes_than_fit_one_request_are_all_shown(page: NotesPage, stored: Any) -> None:
    for number in range(250):
        key = f"notes-web/note/{number:03}"
        stored.create(owner_kind="user", owner_id=USER, key=key, value=f"note {number}", app="demo-app")

    page.log_in()
    page.wait_until_shown()

    assert page.notes() == [f"note {number}" for number in reversed(range(250))]


def test_an_expired_token_is_refreshed_and_the_call_repeated(
    logged_in: NotesPage, provider: Provider, stored: Any
) -> None:
    expire_token(logged_in)

    logged_in.write("after the refresh")

    assert provider.grants == ["authorization_code", "refresh_token"]
    assert logged_in.notes() == ["after the refresh"]
    assert stored.count() == 1


def test_when_the_session_is_over_the_user_is_asked_to_log_in_again(
    logged_in: NotesPage, provider: Provider, stored: Any
) -> None:
    provider.session = False
    expire_token(logged_in)

    assert logged_in.status() == "Your login is over. Please log in again."
    assert not logged_in.is_logged_in()

    logged_in.log_in()
    logged_in.wait_until_shown()
    logged_in.choose_theme("dark")

    assert logged_in.status() == ""
    assert stored.get().value == "dark"


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        pytest.param({"iss": "https://elsewhere.example"}, "Your login is over. Please log in again.", id="-1"),
        pytest.param(
            {"scope": "openid email"},
            "This page may not keep data for you. Please log in again and permit it.",
            id="-3",
        ),
    ],
)
def test_a_token_that_does_not_do_leads_back_to_the_login(
    page: NotesPage, provider: Provider, claims: dict[str, Any], message: str
) -> None:
    provider.claims = claims

    page.log_in()
    page.browser.wait_until("document.querySelector('#status')?.textContent.endsWith('.')")

    assert page.status() == message
    assert not page.is_logged_in()


def test_a_busy_service_is_asked_again(logged_in: NotesPage, front: ServiceFront, stored: Any) -> None:
    front.fail(busy("0"), (502, b"<h1>Bad gateway</h1>", {"Retry-After": "0"}))

    logged_in.write("patience")

    assert logged_in.status() == ""
    assert logged_in.notes() == ["patience"]
    assert stored.count() == 1


def test_a_service_that_stays_busy_is_told_and_what_was_written_stays(
    logged_in: NotesPage, front: ServiceFront, stored: Any
) -> None:
    front.fail(*[busy("1")] * 4)

    logged_in.write("patience")

    assert logged_in.status() == "Saving the note: the service is busy; try again in a while (result -4)."
    assert logged_in.browser.find("#new textarea").get_property("value") == "patience"
    assert logged_in.notes() == []
    assert not stored.exists()


def test_other_failures_are_told(logged_in: NotesPage, front: ServiceFront, stored: Any) -> None:
    stored.create(owner_kind="user", owner_id=USER, key="notes-web/theme", value="light", app="other-app")

    logged_in.choose_theme("dark")

    assert logged_in.status() == "Saving the theme: another of your apps has a key of this name (result -6)."
    assert stored.get().value == "light"

    front.fail(None, None)
    logged_in.write("lost")

    assert logged_in.status() == "Saving the note: the service can’t be reached."
    assert stored.count() == 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("?code=stolen&state=invented", "This login was not begun here. Please log in again."),
        ("?error=access_denied&state=invented", "This login was not begun here. Please log in again."),
    ],
)
def test_an_answer_that_was_not_asked_for_is_not_taken(
    page: NotesPage, provider: Provider, query: str, message: str
) -> None:
    page.browser.open(f"{page.url}/{query}")

    assert page.status() == message
    assert provider.grants == []
    assert not page.is_logged_in()


def test_a_login_that_the_user_declines_is_told(page: NotesPage, provider: Provider) -> None:
    provider.refusal = "access_denied"

    page.log_in()
    page.browser.wait_until("document.querySelector('#status')?.textContent.endsWith('.')")

    assert page.status() == "The login did not succeed: access_denied."
    assert not page.is_logged_in()


def expire_token(page: NotesPage) -> None:
    """Let the page, opened anew in its tab, find that the token it has kept is over."""
    page.browser.driver.execute_script(
        "const tokens = JSON.parse(sessionStorage.getItem('tokens'));"
        "sessionStorage.setItem('tokens', JSON.stringify({ ...tokens, access_token: arguments[0] }));",
        token(exp=int(time.time()) - 3600),
    )
    page.open()
