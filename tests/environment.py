"""A pytest plugin, loaded before Django's settings are: the environment of the tests and their PostgreSQL."""

import os
import shutil
import tempfile
from pathlib import Path

from tests.tokens import ISSUER, RSA_KEY, public_pem

os.environ.update(
    SECRET_KEY="only for tests " * 4,
    ALLOWED_HOSTS="testserver,127.0.0.1",
    JWT_ISSUER=ISSUER,
    JWT_PUBLIC_KEY=public_pem(RSA_KEY),
    JWT_ALGORITHMS="RS256",
    PROMETHEUS_MULTIPROC_DIR=tempfile.mkdtemp(prefix="userdata-metrics-"),
)
# What a developer has set for `make run` is not meant for the tests.
for name in ("DEBUG", "HOST", "PORT", "WORKERS", "JWT_SECRET", "JWT_AUDIENCE", "JWT_JWKS_URL", "CORS_ALLOWED_ORIGINS"):
    os.environ.pop(name, None)

_stops = []

if not os.environ.get("DATABASE_URL"):
    from hypersecureid.local.postgres import Postgres

    folder = Path(tempfile.mkdtemp(prefix="userdata-tests-"))
    server = Postgres(folder / "data")
    server.start()
    os.environ["DATABASE_URL"] = server.url
    _stops += [server.close, lambda: shutil.rmtree(folder)]


def pytest_unconfigure() -> None:
    for stop in _stops:
        stop()
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
