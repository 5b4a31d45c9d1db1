"""What can become of a request, and each endpoint's documented number for it."""

from collections.abc import Mapping
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a request, in the words of the API document.

    The number depends on the endpoint: across the family, -6 alone has four meanings.
    """

    SUCCESS = "success"
    TOKEN_INVALID = "fail by token invalid"
    TOKEN_EXPIRED = "fail by token expired"
    ACCESS_DENIED = "fail by access denied"
    SERVICE_UNAVAILABLE = "fail by service temporary not valid"
    INVALID_PARAMETERS = "fail by invalid parameters"
    KEY_ACCESS_DENIED = "fail by key access denied"
    KEY_INVALID = "fail by key invalid"


# The numbers that every endpoint of the family shares.
COMMON: Mapping[Outcome, int] = {
    Outcome.SUCCESS: 0,
    Outcome.TOKEN_INVALID: -1,
    Outcome.TOKEN_EXPIRED: -2,
    Outcome.ACCESS_DENIED: -3,
    Outcome.SERVICE_UNAVAILABLE: -4,
    Outcome.INVALID_PARAMETERS: -5,
}

# POST /user-data/set
SET: Mapping[Outcome, int] = {
    **COMMON,
    Outcome.KEY_ACCESS_DENIED: -6,
    Outcome.KEY_INVALID: -7,
}
