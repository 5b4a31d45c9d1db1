"""A service as `make run` starts it, but for its key: a secret that the tests know."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.models.manager import BaseManager

from tests.application import Response, Running
from tests.conftest import PROJECT, Server, free_port
from tests.docs import family
from userdata.models import StoredValue

SECRET = "only for the tests of the documentation"
ENVIRONMENT: dict[str, str | None] = {
    "JWT_ISSUER": "https://issuer.localhost",
    "JWT_SECRET": SECRET,
    "JWT_PUBLIC_KEY": None,
    "JWT_ALGORITHMS": None,
    "JWT_IDENTITY_PROVIDERS": "google",
    "WORKERS": "1",
}
MINT = [sys.executable, "-m", "hypersecureid.local.token"]


def environment(**changes: str) -> dict[str, str]:
    """In which `hypersecureid.local.token` signs for the service."""
    merged = os.environ | ENVIRONMENT | changes
    return {name: value for name, value in merged.items() if value is not None and name != "EMAIL"}


def minted(**changes: str) -> str:
    """What `make -s token` prints."""
    done = subprocess.run(MINT, cwd=PROJECT, env=environment(**changes), capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def shared_development_server(start_server: Callable[..., Server], database_url: str) -> Server:
    return start_server(wait="/readyz", DATABASE_URL=database_url, **ENVIRONMENT)


@pytest.fixture
def development_server(shared_development_server: Server, stored: object) -> Server:
    """Over an empty table."""
    return shared_development_server


@pytest.fixture(scope="session")
def notes() -> str:
    """A token for the app `notes`."""
    return minted(CLIENT="notes")


@pytest.fixture(scope="session")
def mail() -> str:
    """A token for the app `mail` of the same user."""
    return minted(CLIENT="mail")


@pytest.fixture
def as_it_was(running: Running) -> Iterator[Running]:
    """The service in this process, started anew when the settings have been restored."""
    yield running
    running.restart()


@pytest.fixture
def answers(
    as_it_was: Running, settings: Any, post: Callable[..., Response], stored: BaseManager[StoredValue]
) -> family.Answers:
    """What the service answers: every documented outcome of every endpoint."""

    def ask(path: str, body: Any, token: str) -> Response:
        return post(body, token, path=path)

    def lose_keys() -> None:
        settings.JWT_PUBLIC_KEY, settings.JWT_JWKS_URL = "", f"http://127.0.0.1:{free_port()}/"
        as_it_was.restart()

    return family.answers(ask, stored.all().delete, lose_keys)
