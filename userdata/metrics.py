"""What the process counts; /metrics adds it up over all workers."""

from functools import cache

from prometheus_client import Counter

ANSWERS = Counter("userdata_answers", "Answers by endpoint and outcome.", ["storage", "action", "outcome"])
BATCHES = Counter("userdata_commits", "Statements that stored values, each a commit.")
JWKS_REFRESHES = Counter("userdata_jwks_refreshes", "Attempts to read the provider's keys.", ["outcome"])
JWKS_UNKNOWN_KIDS = Counter("userdata_jwks_unknown_kids", "Tokens that named a key the provider does not have.")


@cache
def answers(storage: str, action: str, outcome: str) -> Counter:
    """The counter of one kind of answer."""
    return ANSWERS.labels(storage, action, outcome)
