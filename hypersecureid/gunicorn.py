"""gunicorn's settings; `manage.py serve` runs it with this file."""

import asyncio
import gc
import logging
import os
import resource
import shutil
import signal
from typing import Any

from django.conf import settings
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker
from prometheus_client import multiprocess
from uvicorn_worker import UvicornWorker

DRAIN_SECONDS = 0.5  # in which an ending worker still takes requests, and closes each connection by its answer
MAX_CONNECTIONS = 2048  # of a worker; a request beyond them is answered with 503


class ServiceWorker(UvicornWorker):  # type: ignore[misc]
    """uvicorn with this service's limits. Ends by itself when the main process is gone, however that ended."""

    CONFIG_KWARGS = {
        "loop": "uvloop",
        "http": "httptools",
        "ws": "none",
        "lifespan": "on",
        "interface": "asgi3",
        "proxy_headers": False,  # Django believes the proxy's header where TRUST_PROXY_HEADERS says so
        "server_header": False,
        "access_log": False,
        "limit_concurrency": MAX_CONNECTIONS,
        "timeout_graceful_shutdown": 5,
        "timeout_notify": 1,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        logging.getLogger("uvicorn.error").propagate = True  # to the handler that all loggers share
        self._end: Any = None

    async def callback_notify(self) -> None:
        await super().callback_notify()
        if self._end is None:  # uvicorn has set its handlers by now
            self._end = signal.signal(signal.SIGTERM, self._drain)
        if os.getppid() != self.ppid:
            os.kill(os.getpid(), signal.SIGTERM)

    def _drain(self, sig: int, frame: Any) -> None:
        """A proxy may be sending on a connection that looks idle here, so none is closed without an answer yet."""
        signal.signal(sig, self._end)
        self.wsgi.end_connections()
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, os.kill, os.getpid(), sig)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGQUIT, by which gunicorn passes a SIGINT of its own on; uvicorn ends by SIGTERM."""
        os.kill(os.getpid(), signal.SIGTERM)


bind = f"[{settings.HOST}]:{settings.PORT}" if ":" in settings.HOST else f"{settings.HOST}:{settings.PORT}"
workers = settings.WORKERS
worker_class = "hypersecureid.gunicorn.ServiceWorker"
wsgi_app = "hypersecureid.asgi:application"
proc_name = "userdata"
# Each worker has a queue of new connections of its own, among which the system spreads them.
reuse_port = True
backlog = MAX_CONNECTIONS
keepalive = 90  # seconds for which an idle connection stays open
timeout = 30  # seconds without a sign of life after which a worker is replaced
graceful_timeout = 10
control_socket_disable = True
accesslog = None
logconfig_dict = settings.LOGGING


def on_starting(arbiter: Arbiter) -> None:
    """Each connection is an open file, of which many systems allow 1,024 unless asked for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def post_worker_init(worker: Worker) -> None:
    """What is here now stays, so the collector need not go over it again and again: each time costs milliseconds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def child_exit(arbiter: Arbiter, worker: Any) -> None:
    """A worker's gauges end with it; its counters are kept."""
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(arbiter: Arbiter) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
