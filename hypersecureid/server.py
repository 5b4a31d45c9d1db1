"""The production server: Granian, several worker processes, each with an event loop."""

import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

HEADER_SECONDS = 10


def serve() -> None:
    """Serve until SIGINT or SIGTERM; requests under way are answered first.

    Raises `ImproperlyConfigured` where the address is taken or can't be had.
    """
    require_free_address()
    # Workers start afresh and not as copies of this process, whose threads and locks they could not use.
    multiprocessing.set_start_method("spawn", force=True)
    with tempfile.TemporaryDirectory(prefix="userdata-") as shared:
        # The workers' counters are files here, so that any one of them can add them all up.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        _server().serve(target_loader=_load)


def _server() -> Any:
    return Granian(
        "hypersecureid.rsgi:application",
        address=settings.HOST,
        port=settings.PORT,
        interface=Interfaces.RSGI,
        workers=settings.WORKERS,
        backpressure=1024,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000),
        respawn_failed_workers=True,
        workers_kill_timeout=10,
        log_level=LogLevels.error,
    )


def end_with_parent() -> None:
    """End this process when the one that started it has died, however it died."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def _load(target: str) -> object:
    """Called in each worker."""
    # A Ctrl-C is for the main process, which tells the workers: told twice, they would not end.
    os.setpgrp()
    end_with_parent()
    from hypersecureid.rsgi import application

    return application


def require_free_address() -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.HOST, settings.PORT, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as cause:
        reason = cause.strerror or "it is no address of this machine"
        raise ImproperlyConfigured(f"Can't listen on {settings.HOST} port {settings.PORT}: {reason}.") from cause
