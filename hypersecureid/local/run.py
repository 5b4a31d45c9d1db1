"""`make run`: the whole service on this machine, from the database up, in the foreground."""

import os
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import django
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DatabaseError, connection

from hypersecureid import database_problems
from hypersecureid.checks import require_safe_settings
from hypersecureid.local import LocalError, attached, environment, temporary
from hypersecureid.local.postgres import Postgres
from hypersecureid.local.supervision import supervise
from hypersecureid.management.commands.serve import require_free_address

WARNING = (
    "HOST is {host}: others in the network can reach the service, /docs, /metrics and the admin's log-in, without TLS."
    " Names and addresses by which browsers reach the admin belong into ALLOWED_HOSTS."
)


def main() -> None:
    _end_on(signal.SIGTERM, signal.SIGHUP)
    parent = os.getppid()
    environment.complete()
    with _database() as embedded, attached.published(environment.value("DATABASE_URL")), temporary.folder() as folder:
        _prepare()
        sys.exit(supervise(embedded, folder, parent))


@contextmanager
def _database() -> Iterator[Postgres | None]:
    """The embedded database, unless another one is named."""
    if environment.is_set("DATABASE_URL"):
        yield None
        return
    server = Postgres(environment.STATE / "postgres")
    try:
        server.start()
        os.environ["DATABASE_URL"] = server.url
        yield server
    finally:
        server.close()


def _prepare() -> None:
    """Check the settings and the address, migrate, and make a user for the admin."""
    django.setup()
    require_safe_settings()
    require_free_address()
    if settings.PUBLIC_BIND:
        print(WARNING.format(host=settings.HOST), file=sys.stderr)
    call_command("migrate", verbosity=0, interactive=False)
    users = get_user_model()
    if not users.objects.filter(is_superuser=True).exists():
        password = secrets.token_urlsafe(12)
        users.objects.create_superuser("admin", "admin@localhost", password)
        print(f"The admin's user is «admin», the password {password} (shown this once).", flush=True)
    connection.close()


def _end_on(*numbers: signal.Signals) -> None:
    """End in an orderly way on a signal, the first time; one that is ignored, as under nohup, stays so."""

    def end(number: int, frame: object) -> NoReturn:
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        sys.exit(0)

    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def _complaint(problem: Exception) -> str | None:
    """What to say of a problem that is no mistake in this code."""
    if isinstance(problem, DatabaseError):
        return database_problems.recognize(problem)
    if isinstance(problem, OSError):
        return f"Can't use {problem.filename}: {problem.strerror}." if problem.filename else None
    return f"{str(problem).rstrip('.')}."


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (DatabaseError, ImproperlyConfigured, LocalError, OSError) as problem:
        if (complaint := _complaint(problem)) is None:
            raise
        sys.exit(complaint)
