"""The production server: worker processes, each of which answers on one event loop."""

import gc
import multiprocessing
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import structlog
import uvloop
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from hypersecureid.http.connection import MAX_CONNECTIONS
from hypersecureid.http.listener import Listener

log = structlog.get_logger(__name__)

ATTENTION_SECONDS = 0.2
RESPAWN_SECONDS = 0.5
KILL_SECONDS = 10
SWITCH_SECONDS = 0.0005


@contextmanager
def listening() -> Iterator[list[socket.socket]]:
    """The address, with a queue of new connections for each worker, among which the system spreads them.

    Raises `ImproperlyConfigured` where another process has the address or it can't be had.
    """
    _allow_open_files(2 * MAX_CONNECTIONS)
    with ExitStack() as sockets:
        try:
            family, _, _, _, address = socket.getaddrinfo(settings.HOST, settings.PORT, type=socket.SOCK_STREAM)[0]
            # Those who are willing to share get an address that is taken, so first one tries who is not.
            socket.create_server(address, family=family).close()
            queues = [
                sockets.enter_context(
                    socket.create_server(address, family=family, backlog=MAX_CONNECTIONS, reuse_port=True)
                )
                for _ in range(settings.WORKERS)
            ]
        except OSError as cause:
            reason = os.strerror(cause.errno) if cause.errno and cause.errno > 0 else "it is no address of this machine"
            raise ImproperlyConfigured(f"Can't listen on {settings.HOST} port {settings.PORT}: {reason}.") from cause
        yield queues


def serve(queues: Sequence[socket.socket]) -> None:
    """Serve until SIGINT or SIGTERM, with a worker for each queue; requests under way are answered first."""
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    with tempfile.TemporaryDirectory(prefix="userdata-") as shared:
        # The workers' counters are files here, so that any one of them can add them all up.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        workers = [_start(queue) for queue in queues]
        while not told.is_set():
            wait([worker.sentinel for worker in workers], ATTENTION_SECONDS)
            for place, worker in enumerate(workers):
                if worker.exitcode is not None and not told.is_set():
                    log.error("a worker died; another one takes its place", exit_code=worker.exitcode)
                    time.sleep(RESPAWN_SECONDS)
                    workers[place] = _start(queues[place])
        for queue in queues:
            queue.close()  # who comes now is refused, and can go elsewhere at once
        _end(workers)


def end_with_parent() -> None:
    """End this process when the one that started it has died, however it died."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def _start(queue: socket.socket) -> BaseProcess:
    """A worker starts afresh and not as a copy of this process, whose threads and locks it could not use."""
    worker = multiprocessing.get_context("spawn").Process(target=_work, args=(queue,), name="worker")
    worker.start()
    return worker


def _end(workers: list[BaseProcess]) -> None:
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + KILL_SECONDS
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        worker.kill()


def _work(queue: socket.socket) -> None:
    # A Ctrl-C is for the main process, which tells the workers.
    os.setpgrp()
    end_with_parent()
    from hypersecureid.application import application

    # What is here now stays, so the collector need not go over it again and again: each time costs milliseconds.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    # A thread that draws a page gives way to the event loop after this, and not after Python's 5 ms.
    sys.setswitchinterval(SWITCH_SECONDS)
    uvloop.run(Listener(queue, application).serve())


def _allow_open_files(wanted: int) -> None:
    """Each connection is an open file, of which many systems allow 1,024 unless asked for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
