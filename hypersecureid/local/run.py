"""`make run`: the whole service on this machine, from the database up, in the foreground."""

import os
import secrets
import shlex
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from hypersecureid.local import environment, postgres, token

READY_SECONDS = 30


def main() -> None:
    signal.signal(signal.SIGTERM, _exit)
    environment.complete()
    with _database():
        _start()


def _start() -> None:
    import django
    from django.core.exceptions import ImproperlyConfigured

    try:
        django.setup()
        from hypersecureid import checks, server

        server.end_with_parent()
        checks.require_safe_settings()
        with server.listening() as queues:
            _prepare_database()
            threading.Thread(target=_greet, name="greeting", daemon=True).start()
            server.serve(queues)
    except ImproperlyConfigured as problem:
        sys.exit(str(problem))


@contextmanager
def _database() -> Iterator[None]:
    """The embedded database, unless another one is named."""
    if environment.is_set("DATABASE_URL"):
        yield
        return
    try:
        with postgres.running(environment.STATE / "postgres") as url:
            os.environ["DATABASE_URL"] = url
            yield
    except RuntimeError as problem:
        sys.exit(f"{problem}.")


def _prepare_database() -> None:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import OperationalError, connection

    try:
        connection.ensure_connection()
    except OperationalError as problem:
        reason = str(problem).strip().splitlines()[0].rstrip(".")
        sys.exit(f"Can't reach the database that DATABASE_URL names: {reason}.")
    call_command("migrate", verbosity=0, interactive=False)
    users = get_user_model()
    if not users.objects.filter(is_superuser=True).exists():
        password = secrets.token_urlsafe(12)
        users.objects.create_superuser("admin", "admin@localhost", password)
        print(f"The admin's user is «admin», the password {password} (shown this once).", flush=True)
    connection.close()


def _greet() -> None:
    """Say where the service is when it is there, with a call to try."""
    from django.conf import settings

    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.HOST, settings.HOST)
    base = f"http://{host}:{settings.PORT}"
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(f"{base}/readyz"):
        if time.monotonic() > deadline:
            print(f"{base}/readyz does not say that the service is ready; see there why.", flush=True)
            return
    print(f"Ready on {base} (admin: {base}/admin/, reference: {base}/docs). Ctrl-C ends it. Try:\n", flush=True)
    print(_curl(base), flush=True)


def _answers(url: str) -> bool:
    time.sleep(0.1)
    try:
        with urllib.request.urlopen(url, timeout=3) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _curl(base: str) -> str:
    """A call to paste; only a terminal gets to see the token itself."""
    try:
        bearer = token.mint()
        if not sys.stdout.isatty():
            bearer = f"$(make -s -C {shlex.quote(str(Path.cwd()))} token)"
    except ValueError:
        bearer = "<a token from your provider>"
    return (
        f"curl {base}/user-data/set -H 'Content-Type: application/json' \\\n"
        f'  -H "Authorization: Bearer {bearer}" \\\n'
        """  -d '{"value_key": "greeting", "value_data": "hello"}'"""
    )


def _exit(number: int, frame: object) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
