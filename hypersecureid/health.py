"""What load balancers and monitors ask: does the process answer, can it work, what has it counted."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess

from userdata import store
from userdata.configuration import key_source
from userdata.exceptions import ServiceUnavailable


def livez(request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """200 where the database and the keys can be used now; else 503, which says which can't."""
    try:
        store.check()
        database = {"usable": True}
    except ServiceUnavailable:
        database = {"usable": False}
    keys = key_source().status()
    age = None if keys.age_seconds is None else round(keys.age_seconds, 1)
    usable = database["usable"] and keys.usable
    return JsonResponse(
        {
            "status": "ok" if usable else "unavailable",
            "database": database,
            "keys": {"usable": keys.usable, "age_seconds": age, "detail": keys.detail},
        },
        status=200 if usable else 503,
    )


def metrics(request: HttpRequest) -> HttpResponse:
    """The counters of all workers, in the text format of Prometheus."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
