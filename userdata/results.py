"""What can become of a request, and each endpoint's documented number for it."""

from collections.abc import Mapping
from enum import StrEnum


class Outcome(StrEnum):
    """What became of a request, in the words of the API document.

    The number depends on the endpoint: across the family, -6 alone has four meanings.
    """

    SUCCESS = "success"
    NOT_FOUND = "success not found"
    TOKEN_INVALID = "fail by token invalid"
    TOKEN_EXPIRED = "fail by token expired"
    ACCESS_DENIED = "fail by access denied"
    SERVICE_UNAVAILABLE = "fail by service temporary not valid"
    INVALID_PARAMETERS = "fail by invalid parameters"
    KEY_ACCESS_DENIED = "fail by key access denied"
    KEY_INVALID = "fail by key invalid"
    KEYS_SIZE_LIMIT_REACHED = "fail by keys size limit reached"
    IDENTITY_PROVIDER_NOT_FOUND = "fail by identity provider not found"
    WALLET_NOT_EXISTS = "fail by wallet not exists"


Results = Mapping[Outcome, int]

# The numbers that every endpoint of the family shares.
COMMON: Results = {
    Outcome.SUCCESS: 0,
    Outcome.TOKEN_INVALID: -1,
    Outcome.TOKEN_EXPIRED: -2,
    Outcome.ACCESS_DENIED: -3,
    Outcome.SERVICE_UNAVAILABLE: -4,
    Outcome.INVALID_PARAMETERS: -5,
}

# Basic storage, by user id and by email. The basic `get` has no number for 'not found'.
SET: Results = {**COMMON, Outcome.KEY_ACCESS_DENIED: -6, Outcome.KEY_INVALID: -7}
GET_BASIC: Results = {**COMMON, Outcome.KEYS_SIZE_LIMIT_REACHED: -6}
GET: Results = {**COMMON, Outcome.NOT_FOUND: 1, Outcome.KEYS_SIZE_LIMIT_REACHED: -6}
LIST: Results = {**COMMON, Outcome.NOT_FOUND: 1}  # both lists and delete

# By identity provider.
SET_IDP: Results = {
    **COMMON,
    Outcome.IDENTITY_PROVIDER_NOT_FOUND: -6,
    Outcome.KEY_ACCESS_DENIED: -7,
    Outcome.KEY_INVALID: -8,
}
GET_IDP: Results = {
    **COMMON,
    Outcome.NOT_FOUND: 1,
    Outcome.IDENTITY_PROVIDER_NOT_FOUND: -6,
    Outcome.KEYS_SIZE_LIMIT_REACHED: -7,
}
LIST_IDP: Results = {**COMMON, Outcome.NOT_FOUND: 1, Outcome.IDENTITY_PROVIDER_NOT_FOUND: -6}

# By wallet.
SET_WALLET: Results = {
    **COMMON,
    Outcome.WALLET_NOT_EXISTS: -6,
    Outcome.KEY_ACCESS_DENIED: -7,
    Outcome.KEY_INVALID: -8,
}
GET_WALLET: Results = {
    **COMMON,
    Outcome.NOT_FOUND: 1,
    Outcome.WALLET_NOT_EXISTS: -6,
    Outcome.KEYS_SIZE_LIMIT_REACHED: -7,
}
LIST_WALLET: Results = {**COMMON, Outcome.NOT_FOUND: 1, Outcome.WALLET_NOT_EXISTS: -6}
