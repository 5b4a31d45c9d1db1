"""What the process counts; /metrics adds it up over all workers."""

from prometheus_client import Counter, Histogram

ANSWERS = Counter("userdata_answers", "Answers by endpoint and outcome.", ["endpoint", "outcome"])
SECONDS = Histogram(
    "userdata_request_seconds",
    "Time from the parsed request to its answer, in seconds.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
BATCHES = Counter("userdata_commits", "Statements that stored values, each a commit.")
JWKS_REFRESHES = Counter("userdata_jwks_refreshes", "Attempts to read the provider's keys.", ["outcome"])
JWKS_UNKNOWN_KIDS = Counter("userdata_jwks_unknown_kids", "Tokens that named a key the provider does not have.")
