"""What load balancers and monitors ask: does the process answer, can it work, what has it counted."""

import asyncio
import json
import os
from typing import Any

import psycopg
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess

from hypersecureid.database_problems import describe
from userdata.service import Service


async def livez(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers."""
    return _json({"status": "ok"})


async def readyz(request: HttpRequest) -> HttpResponse:
    """200 where the database and the keys can be used now; else 503, which says which can't, and why."""
    service: Service = request.scope["service"]  # type: ignore[attr-defined]
    try:
        await service.store.check()
        database = {"usable": True, "detail": "usable"}
    except psycopg.Error as problem:
        database = {"usable": False, "detail": describe(problem.__cause__ or problem)}
    keys = service.identity.status()
    age = None if keys.age_seconds is None else round(keys.age_seconds, 1)
    usable = database["usable"] and keys.usable
    return _json(
        {
            "status": "ok" if usable else "unavailable",
            "database": database,
            "keys": {"usable": keys.usable, "age_seconds": age, "detail": keys.detail},
        },
        status=200 if usable else 503,
    )


async def metrics(request: HttpRequest) -> HttpResponse:
    """The counters of all workers, or of this process where it is the only one, in the text format of Prometheus."""
    return _answer(await asyncio.to_thread(_counted), CONTENT_TYPE_LATEST)


def _counted() -> bytes:
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _json(content: dict[str, Any], status: int = 200) -> HttpResponse:
    return _answer(json.dumps(content).encode(), "application/json", status)


def _answer(content: bytes, content_type: str, status: int = 200) -> HttpResponse:
    """With its length, which HTTP/1.0 needs: some load balancers ask in it."""
    headers = {"Content-Length": str(len(content))}
    return HttpResponse(content, content_type=content_type, status=status, headers=headers)
