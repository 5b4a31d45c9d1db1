"""A pytest plugin, loaded before Django's settings are: the environment of the tests and their PostgreSQL."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable

from hypothesis import HealthCheck, settings

from tests.tokens import ISSUER, RSA_KEY, public_pem

os.environ.update(
    SECRET_KEY="only for tests " * 4,
    ALLOWED_HOSTS="testserver,127.0.0.1",
    JWT_ISSUER=ISSUER,
    JWT_PUBLIC_KEY=public_pem(RSA_KEY),
    JWT_ALGORITHMS="RS256",
    JWT_IDENTITY_PROVIDERS="telegram,google",
    LOG_REQUESTS="false",  # most tests of logs are of the other lines
    PROMETHEUS_MULTIPROC_DIR=tempfile.mkdtemp(prefix="userdata-metrics-"),
)
# What a developer has set for `make run` is not meant for the tests.
for name in (
    *("DEBUG", "HOST", "PORT", "WORKERS", "JWT_SECRET", "JWT_AUDIENCE", "JWT_JWKS_URL", "CORS_ALLOWED_ORIGINS"),
    *("RATE_LIMIT", "REDIS_URL", "DATABASE_PREPARED_STATEMENTS"),
):
    os.environ.pop(name, None)

# A shell starts what runs in its background with Ctrl-C ignored, and so would be what the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine is no failure, least of all where the first run draws its tables of characters.
settings.register_profile("anywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("anywhere")

_stops: list[Callable[[], object]] = []

# With `-n`, this process only hands out the tests: each of those that run them has a PostgreSQL of its own.
hands_out = "-n" in sys.argv and "0" not in sys.argv and "PYTEST_XDIST_WORKER" not in os.environ

if hands_out:
    os.environ.setdefault("DATABASE_URL", "postgresql:///none")
elif not os.environ.get("DATABASE_URL") or os.environ["DATABASE_URL"] == "postgresql:///none":
    from hypersecureid.local.postgres import Postgres
    from hypersecureid.local.temporary import TemporaryFolder

    folder = TemporaryFolder()
    server = Postgres(folder.path / "data")
    server.start()
    os.environ["DATABASE_URL"] = server.url
    _stops += [server.close, folder.close]


def pytest_unconfigure() -> None:
    for stop in _stops:
        stop()
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
