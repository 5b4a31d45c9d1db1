import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand

from hypersecureid.checks import refuse_errors

log = structlog.get_logger(__name__)

CONFIGURATION = Path(__file__).resolve().parents[2] / "gunicorn.py"


class Command(BaseCommand):
    help = "Serve on HOST:PORT with WORKERS processes until told to stop: gunicorn with the settings of this service."

    requires_system_checks: list[str] = []  # `handle` runs them all, and says what they find in its own form

    def handle(self, *args: Any, **options: Any) -> None:
        found = run_checks()
        refuse_errors(found)
        for message in found:
            log.warning(message.msg, check=message.id)
        require_free_address()
        # The workers' counters are files here, so that any one of them can add them all up.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=f"userdata-metrics-{os.getpid()}-")
        os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "--config", f"{CONFIGURATION}"])  # noqa: S606


def require_free_address() -> None:
    """Raise `ImproperlyConfigured` where another process has the address, which the workers would share with it."""
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.HOST, settings.PORT, type=socket.SOCK_STREAM)[0]
        socket.create_server(address, family=family).close()
    except OSError as cause:
        reason = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else "it is no address of this machine"
        raise ImproperlyConfigured(f"Can't listen on {settings.HOST} port {settings.PORT}: {reason}.") from cause
