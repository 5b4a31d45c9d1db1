"""The admin in a browser: log in, list, search, open a key, open its value."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.browser.chromium import Browser
from tests.conftest import Server
from tests.tokens import APP, USER

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
SECRET = "<b>dark</b> & nobody's business"


@pytest.fixture
def operator(server: Server) -> Any:
    yield User.objects.create_superuser("operator", "operator@example.com", PASSWORD)
    User.objects.all().delete()


@pytest.fixture
def admin(browser: Browser, server: Server, operator: Any, stored: Any) -> Browser:
    """The browser on the list of stored keys, logged in."""
    for number in range(60):
        stored.create(owner_kind="user", owner_id=f"someone-{number}", key=f"key {number}", value="x", app="other-app")
    stored.create(owner_kind="user", owner_id=USER, key="theme", value=SECRET, app=APP)
    stored.create(owner_kind="email", owner_id=f"{USER}\x1fu1@example.com", key="by email", value="x", app=APP)
    stored.create(owner_kind="user", owner_id=USER, key="<img src=x onerror=alert(1)>", value="", app=APP)
    browser.open(f"{server.url}/admin/userdata/storedvalue/")
    browser.screenshot("admin-login")
    browser.find("#id_username").send_keys("operator")
    browser.find("#id_password").send_keys(PASSWORD)
    browser.find("#id_password").submit()
    browser.find("#result_list")
    return browser


def test_a_key_is_found_and_its_value_opened(admin: Browser, server: Server) -> None:
    admin.screenshot("admin-list")
    assert "<img src=x onerror=alert(1)>" in admin.text()

    search = admin.find("#searchbar")
    search.send_keys(f"{USER} theme")
    search.submit()
    admin.wait_until("document.querySelectorAll('#result_list tbody tr').length === 1")
    admin.screenshot("admin-search")

    admin.click("#result_list tbody a")
    details = admin.find("details:has(pre)")
    admin.screenshot("admin-key")
    assert f"{len(SECRET)} bytes" in details.text
    assert SECRET not in admin.text()
    assert admin.driver.find_elements("css selector", "[name=_save], .deletelink") == []

    admin.click("details:has(pre) summary")
    admin.screenshot("admin-value")
    assert SECRET in admin.text()


def test_a_user_s_id_finds_what_is_kept_by_email_too(admin: Browser) -> None:
    search = admin.find("#searchbar")
    search.send_keys(USER)
    search.submit()
    admin.wait_until("document.querySelectorAll('#result_list tbody tr').length === 3")
    admin.screenshot("admin-user")

    assert f"user {USER}, email u1@example.com" in admin.text()


def test_the_admin_comes_from_this_service_alone(admin: Browser, server: Server) -> None:
    for path in ("", "auth/user/", "userdata/storedvalue/"):
        admin.open(f"{server.url}/admin/{path}")
        admin.wait_until("document.readyState === 'complete'")
        admin.screenshot(f"admin-{path.replace('/', '-')}page")

    assert [url for url in admin.requests() if not url.startswith(f"{server.url}/")] == []
    assert admin.complaints() == []
