"""What the process counts; /metrics adds it up over all workers."""

import platform
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

ANSWERS = Counter(
    "userdata_answers", "Answers by endpoint, outcome and HTTP status.", ["storage", "action", "outcome", "status"]
)
DURATIONS = Histogram(
    "userdata_answer_seconds",
    "Time from a request's head to its answer, by endpoint.",
    ["storage", "action"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 3),
)
ERRORS = Counter("userdata_unforeseen_errors", "Requests that ended in an error which nobody foresaw.")
BATCHES = Counter("userdata_commits", "Statements that stored values, each a commit.")
STORE_FAILURES = Counter("userdata_store_failures", "Statements that failed, by cause.", ["cause"])
POOL_CONNECTIONS = Gauge(
    "userdata_pool_connections", "Connections to the database, by state.", ["state"], multiprocess_mode="livesum"
)
POOL_WAITING = Gauge("userdata_pool_waiting", "Statements that wait for a connection.", multiprocess_mode="livesum")
POOL_WAITS = Counter("userdata_pool_waits", "Statements that had to wait for a connection.")
TOKENS = Counter("userdata_tokens", "Tokens looked up among those verified already, by what was found.", ["cache"])
TOKENS_KNOWN, TOKENS_NEW = TOKENS.labels("hit"), TOKENS.labels("miss")
JWKS_REFRESHES = Counter("userdata_jwks_refreshes", "Attempts to read the provider's keys.", ["outcome"])
JWKS_UNKNOWN_KIDS = Counter("userdata_jwks_unknown_kids", "Tokens that named a key the provider does not have.")
RATE_LIMIT_REFUSALS = Counter("userdata_rate_limit_refusals", "Requests refused since their caller sent too many.")
RATE_LIMIT_ERRORS = Counter("userdata_rate_limit_errors", "Requests not counted since Redis could not be used.")
WORKERS = Gauge("userdata_workers", "Workers that run.", multiprocess_mode="livesum")
WORKER_STARTS = Counter("userdata_worker_starts", "Workers that were started, replacements included.")
WORKER_STARTED = Gauge(
    "userdata_worker_start_time_seconds",
    "When the youngest worker started, in seconds since 1970.",
    multiprocess_mode="max",
)
BUILD = Gauge(
    "userdata_build_info",
    "1, with the versions of the service and of Python.",
    ["version", "python"],
    multiprocess_mode="livemax",
)

# PostgreSQL's classes of errors that mean something of their own to an operator.
CAUSES = {
    "08": "connection_lost",
    "22": "data",
    "23": "constraint",
    "25": "read_only",
    "28": "log_in",
    "40": "conflict",
    "42": "schema_or_privilege",
    "53": "resources",
    "54": "limit",
    "55": "lock",
    "57": "shutdown",
    "58": "system",
}
# They are there from the start, at 0: Prometheus can't tell the growth of what it sees for the first time.
FAILURES = {
    cause: STORE_FAILURES.labels(cause)
    for cause in ("no_connection", "no_answer", "timeout", *CAUSES.values(), "other")
}
for _outcome in ("success", "failure"):
    JWKS_REFRESHES.labels(_outcome)


@cache
def answers(storage: str, action: str, outcome: str, status: int) -> Counter:
    """The counter of one kind of answer."""
    return ANSWERS.labels(storage, action, outcome, status)


@cache
def durations(storage: str, action: str) -> Histogram:
    """The durations of one endpoint's requests, in seconds."""
    return DURATIONS.labels(storage, action)


def store_failed(sqlstate: str | None, *, had_connection: bool) -> None:
    """Count a statement that failed, by one of few causes whatever the SQLSTATE is; None is the driver's own."""
    if sqlstate is None:
        cause = "no_answer" if had_connection else "no_connection"
    else:
        cause = "timeout" if sqlstate == "57014" else CAUSES.get(sqlstate[:2], "other")
    FAILURES[cause].inc()


def worker_started(version: str) -> None:
    """To be called in the worker itself, whose process its numbers belong to."""
    WORKERS.set(1)
    WORKER_STARTS.inc()
    WORKER_STARTED.set_to_current_time()
    BUILD.labels(version, platform.python_version()).set(1)
