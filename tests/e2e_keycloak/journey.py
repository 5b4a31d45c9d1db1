"""What an app and its user meet, from the login to the logout. The order matters only for the speed."""

import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.browser import chromium
from tests.examples.notes_page import NotesPage
from tests.examples.servers import NotesWeb, serving

from . import service as user_data_service
from .keycloak import ROOT, Keycloak
from .login import CLIENT_ID, Browser, NotSentBack, claims, key_id, visible_text
from .service import REFRESH_SECONDS, Service

SCOPE = "openid email user-data-set"
READ_AND_WRITE = "openid email user-data-set user-data-get"
DEMO_USER = "5f0c7c52-6a0e-4d0b-9d43-7c1f6f5a2f10"
WALLET = "0x52908400098527886E0F7030069857D2E4169EE7"

# By storage: the fields that name it, the owner of what is stored, and the number of 'key access denied'.
STORAGES: dict[str, tuple[dict[str, str], tuple[str, str], int]] = {
    "by-user-id": ({}, ("user", DEMO_USER), -6),
    "by-email": ({}, ("email", f"{DEMO_USER}\x1fdemo@example.com"), -6),
    "by-idp": ({"identity_provider": "google"}, ("idp", f"{DEMO_USER}\x1fgoogle\x1f110169484474386276334"), -7),
    "by-wallet": ({"wallet_address": WALLET}, ("wallet", f"{DEMO_USER}\x1f{WALLET.lower()}"), -7),
}


def test_a_login_without_pkce_is_refused(browser: Browser) -> None:
    callback = browser.authorize(SCOPE)

    assert callback["error"] == "invalid_request"
    assert "code" not in callback


def test_the_user_is_asked_for_consent_to_each_scope(browser: Browser, keycloak: Keycloak) -> None:
    keycloak.forget_consent(CLIENT_ID)

    browser.log_in("openid email user-data-set user-data-get")

    asked = visible_text(browser.consent_page)
    assert "Grant Access to Demo app" in asked
    for text in (
        "See your email address",
        "See the id of your Google account and your wallet's address",
        "Store data for you",
        "Read the data it has stored for you",
    ):
        assert text in asked


def test_a_login_gives_a_token_that_stores_a_value(browser: Browser, service: Service) -> None:
    tokens = browser.log_in(SCOPE)

    assert service.set(tokens.access, "login", "first ✓") == 0
    assert service.set(tokens.access, "login", "second ✓") == 0

    assert service.stored("login") == [("user", DEMO_USER, "second ✓", "demo-app", 2)]


@pytest.mark.parametrize("storage", STORAGES)
def test_a_storage_takes_every_action(
    browser: Browser, keycloak: Keycloak, empty_service: Service, storage: str
) -> None:
    named, owner, key_access_denied = STORAGES[storage]
    mine = browser.log_in(READ_AND_WRITE).access
    other = keycloak.command_line_token(READ_AND_WRITE)
    tried = set()

    def call(token: str, action: str, **fields: Any) -> dict[str, Any]:
        tried.add(f"{storage}/{action}")
        return empty_service.call(token, f"{storage}/{action}", **named, **fields)

    assert call(mine, "set", value_key="p", value_data="public ✓") == {"result": 0}
    assert call(mine, "set", value_key="s", value_data="secret", access_scope=0) == {"result": 0}
    assert empty_service.stored("p") == [(*owner, "public ✓", "demo-app", 1)]
    assert call(mine, "get", value_keys=["s", "no", "p"]) == {
        "result": 0,
        "values": [{"value_key": "s", "value_data": "secret"}, {"value_key": "p", "value_data": "public ✓"}],
    }
    assert call(mine, "list-get") == {"result": 0, "keys_private": ["s"], "keys_public": ["p"]}

    assert call(other, "shared-list-get") == {"result": 0, "keys_shared": ["demo-app/p"], "next_search_id": ""}
    assert call(other, "get", value_keys=["demo-app/s", "s", "p", "demo-app/p"]) == {
        "result": 0,
        "values": [{"value_key": "demo-app/p", "value_data": "public ✓"}],
    }
    assert call(other, "set", value_key="p", value_data="mine") == {"result": key_access_denied}
    assert call(other, "delete", value_keys=["p"]) == {
        "result": 1,
        "keys_delete_results": [{"value_key": "p", "is_deleted": False}],
    }

    assert call(mine, "delete", value_keys=["p", "s"]) == {
        "result": 0,
        "keys_delete_results": [{"value_key": key, "is_deleted": True} for key in "ps"],
    }
    assert call(mine, "list-get") == {"result": 1, "keys_private": [], "keys_public": []}
    assert tried == {path for path in empty_service.paths() if path.startswith(f"{storage}/")}


def test_the_basic_storage_takes_both_of_its_actions(browser: Browser, empty_service: Service) -> None:
    token = browser.log_in(READ_AND_WRITE).access

    assert empty_service.call(token, "set", value_key="k", value_data="v") == {"result": 0}
    assert empty_service.call(token, "get", value_keys=["k", "no"]) == {
        "result": 0,
        "values": [{"value_key": "k", "value_data": "v"}],
    }

    others = {path for path in empty_service.paths() if path.partition("/")[0] not in STORAGES}
    assert others == {"set", "get"}
    assert len(empty_service.paths()) == 22


def test_a_user_without_account_wallet_and_verified_email_has_none_of_those_storages(
    keycloak: Keycloak, service: Service
) -> None:
    keycloak.add_user("newcomer", email_verified=False)
    token = keycloak.command_line_token(READ_AND_WRITE, "newcomer")
    value = {"value_key": "newcomer", "value_data": "x"}

    assert service.call(token, "by-email/set", **value) == {"result": -3}
    assert service.call(token, "by-idp/set", identity_provider="google", **value) == {"result": -6}
    assert service.call(token, "by-wallet/set", **value) == {"result": -6}
    assert service.call(token, "by-wallet/set", wallet_address=WALLET, **value) == {"result": -6}
    assert service.stored("newcomer") == []
    assert service.call(token, "by-user-id/set", **value) == {"result": 0}


def test_users_can_not_give_themselves_an_account_or_a_wallet_or_a_verified_email(
    keycloak: Keycloak, service: Service
) -> None:
    keycloak.add_user("forger", email_verified=True)
    value = {"value_key": "forger", "value_data": "x"}
    with Browser(keycloak.issuer, "forger", keycloak.demo_password) as browser:
        assert service.call(browser.log_in(READ_AND_WRITE).access, "by-email/set", **value) == {"result": 0}

        for name in ("google_user_id", "wallet_address", "is_wallet_verified"):
            browser.profile = {name: "true", f"user.attributes.{name}": "true"}
            with pytest.raises(NotSentBack, match="This field is read only"):
                browser.log_in(READ_AND_WRITE, kc_action="UPDATE_PROFILE")

        browser.profile = {"email": "somebody@example.com"}
        token = browser.log_in(READ_AND_WRITE, kc_action="UPDATE_PROFILE").access

    assert claims(token)["email"] == "somebody@example.com"
    assert not {"google_user_id", "wallet_address", "is_wallet_verified"} & claims(token).keys()
    assert service.call(token, "by-idp/set", identity_provider="google", **value) == {"result": -6}
    assert service.call(token, "by-wallet/set", **value) == {"result": -6}
    assert service.call(token, "by-email/set", **value) == {"result": -3}
    assert [row[0] for row in service.stored("forger")] == ["email"]


def test_the_example_page_logs_in_and_keeps_theme_and_notes(keycloak: Keycloak, empty_service: Service) -> None:
    if not chromium.is_installed():
        pytest.skip("the page is opened with Chromium: install the packages chromium and chromium-driver")
    keycloak.forget_consent(CLIENT_ID)
    # The realm allows this address alone, which is the one that the example's README names.
    site = NotesWeb(keycloak.issuer, empty_service.url, port=8081)
    with serving(site), chromium.running() as window:
        page = NotesPage(window, site.url)

        def give_password() -> None:
            page.log_in()
            window.find("#username").send_keys("demo")
            window.find("#password").send_keys(keycloak.demo_password)
            window.click("#kc-login")

        page.open()
        give_password()
        window.screenshot("keycloak-consent")
        window.click("[name=accept]")
        page.wait_until_shown()
        assert page.user() == "demo@example.com"
        page.choose_theme("dark")
        page.write("first ✓")
        page.write("second")
        page.delete(0)
        assert page.status() == ""

        page.log_out()
        give_password()
        page.wait_until_shown()
        assert (page.theme(), page.notes()) == ("dark", ["first ✓"])
    assert empty_service.stored("notes-web/theme") == [("user", DEMO_USER, "dark", "demo-app", 1)]


def test_the_documented_command_gives_a_token_that_stores_a_value(keycloak: Keycloak, service: Service) -> None:
    assert service.set(command_line_token(keycloak), "command line", "x") == 0

    assert service.stored("command line") == [("user", DEMO_USER, "x", "demo-cli", 1)]


def test_a_key_belongs_to_the_app_that_set_it_first(keycloak: Keycloak, browser: Browser, service: Service) -> None:
    assert service.set(command_line_token(keycloak), "two apps", "x") == 0

    assert service.set(browser.log_in(SCOPE).access, "two apps", "y") == -6

    assert service.stored("two apps") == [("user", DEMO_USER, "x", "demo-cli", 1)]


def test_id_and_refresh_tokens_are_refused(browser: Browser, service: Service) -> None:
    tokens = browser.log_in(SCOPE)
    assert claims(tokens.identity)["typ"] == "ID"
    assert claims(tokens.refresh)["typ"] == "Refresh"

    assert service.set(tokens.identity, "wrong kind", "x") == -1
    assert service.set(tokens.refresh, "wrong kind", "x") == -1

    assert service.stored("wrong kind") == []


@pytest.mark.parametrize("scope", ["openid email", "openid email user-data-get"])
def test_a_token_without_the_scope_is_denied(browser: Browser, service: Service, scope: str) -> None:
    assert service.set(browser.log_in(scope).access, "no scope", "x") == -3

    assert service.stored("no scope") == []


def test_a_token_for_another_service_is_refused(
    browser: Browser, database_url: str, trust: dict[str, str], log_folder: Path
) -> None:
    token = browser.log_in(SCOPE).access
    elsewhere = trust | {"JWT_AUDIENCE": "another-service"}

    with user_data_service.running(database_url, log_folder / "another-audience.log", **elsewhere) as other:
        assert other.set(token, "wrong audience", "x") == -1
        assert other.stored("wrong audience") == []


def test_keys_may_come_from_another_address_than_the_issuer(
    browser: Browser, database_url: str, trust: dict[str, str], log_folder: Path, keycloak: Keycloak
) -> None:
    """As in the compose stack: the issuer is what the host calls the server, the keys come from inside."""
    inside = trust | {"JWT_JWKS_URL": keycloak.keys_url(host="localhost")}

    with user_data_service.running(database_url, log_folder / "inner-address.log", **inside) as other:
        assert other.set(browser.log_in(SCOPE).access, "inner address", "x") == 0


def test_a_rotated_key_works_on_its_first_use_and_a_removed_one_stops(
    browser: Browser, keycloak: Keycloak, service: Service
) -> None:
    before = browser.log_in(SCOPE)
    assert service.set(before.access, "rotation", "before") == 0

    keycloak.add_signing_key()
    after = browser.refresh(before)
    assert key_id(after.access) != key_id(before.access)

    assert service.set(after.access, "rotation", "after") == 0
    assert service.set(before.access, "rotation", "old key, still published") == 0

    keycloak.remove_old_signing_keys()
    time.sleep(REFRESH_SECONDS * 1.5)

    # More than once, for each worker holds keys of its own.
    assert {service.set(before.access, "rotation", "old key, withdrawn") for _ in range(8)} == {-1}
    assert service.set(after.access, "rotation", "last") == 0
    assert [row[2:] for row in service.stored("rotation")] == [("last", "demo-app", 4)]


def test_after_logout_no_new_token_is_given(browser: Browser) -> None:
    tokens = browser.log_in(SCOPE)

    browser.log_out(tokens)

    with pytest.raises(httpx.HTTPStatusError) as refused:
        browser.refresh(tokens)
    assert refused.value.response.json()["error"] == "invalid_grant"


def command_line_token(keycloak: Keycloak) -> str:
    """What the curl command of deploy/README.md prints."""
    shown = re.search(r"^```bash\n(curl .*?)^```$", (ROOT / "deploy/README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert shown
    command = shown[1].replace("http://127.0.0.1:8080", keycloak.url)
    with tempfile.NamedTemporaryFile("w") as secret:
        secret.write(keycloak.demo_password)
        secret.flush()
        command = command.replace(".local/secrets/keycloak_demo_password", secret.name)
        return subprocess.run(["sh", "-c", command], check=True, capture_output=True, text=True).stdout.strip()
