"""What an app and its user meet, from the login to the logout. The order matters only for the speed."""

import re
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import pytest

from . import service as user_data_service
from .keycloak import ROOT, Keycloak
from .login import CLIENT_ID, Browser, claims, key_id, visible_text
from .service import REFRESH_SECONDS, Service

SCOPE = "openid email user-data-set"
DEMO_USER = "5f0c7c52-6a0e-4d0b-9d43-7c1f6f5a2f10"


def test_a_login_without_pkce_is_refused(browser: Browser) -> None:
    callback = browser.authorize(SCOPE)

    assert callback["error"] == "invalid_request"
    assert "code" not in callback


def test_the_user_is_asked_for_consent_to_each_scope(browser: Browser, keycloak: Keycloak) -> None:
    keycloak.forget_consent(CLIENT_ID)

    browser.log_in("openid email user-data-set user-data-get")

    asked = visible_text(browser.consent_page)
    assert "Grant Access to Demo app" in asked
    for text in ("See your email address", "Store data for you", "Read the data it has stored for you"):
        assert text in asked


def test_a_login_gives_a_token_that_stores_a_value(browser: Browser, service: Service) -> None:
    tokens = browser.log_in(SCOPE)

    assert service.set(tokens.access, "login", "first ✓") == 0
    assert service.set(tokens.access, "login", "second ✓") == 0

    assert service.stored("login") == [("user", DEMO_USER, "second ✓", "demo-app", 2)]


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
