from collections.abc import Iterator
from pathlib import Path

import pytest

from hypersecureid.local import postgres

from . import keycloak as keycloak_server
from . import service as user_data_service
from .keycloak import ROOT, Keycloak
from .login import Browser
from .service import REFRESH_SECONDS, Service

STATE = ROOT / ".local" / "e2e-keycloak"


@pytest.fixture(scope="session")
def keycloak() -> Iterator[Keycloak]:
    STATE.mkdir(parents=True, exist_ok=True)
    with keycloak_server.running(STATE / "keycloak.log") as server:
        yield server


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres.running(tmp_path_factory.mktemp("database") / "data") as url:
        yield url


@pytest.fixture(scope="session")
def trust(keycloak: Keycloak) -> dict[str, str]:
    """What the compose stack sets, but for the addresses; keys are found by discovery."""
    lines = (ROOT / "deploy/identity/keycloak.env").read_text().splitlines()
    stated = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    del stated["JWT_JWKS_URL"]
    return stated | {"JWT_ISSUER": keycloak.issuer, "JWT_JWKS_REFRESH_SECONDS": str(REFRESH_SECONDS)}


@pytest.fixture(scope="session")
def service(database_url: str, trust: dict[str, str]) -> Iterator[Service]:
    with user_data_service.running(database_url, STATE / "service.log", **trust) as running:
        yield running


@pytest.fixture
def empty_service(service: Service) -> Service:
    service.clear()
    return service


@pytest.fixture
def browser(keycloak: Keycloak) -> Iterator[Browser]:
    """The demo user's browser, not logged in."""
    with Browser(keycloak.issuer, "demo", keycloak.demo_password) as fresh:
        yield fresh


@pytest.fixture
def log_folder() -> Path:
    return STATE
