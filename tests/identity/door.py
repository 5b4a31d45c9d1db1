"""The door of `userdata.identity`, and tokens of any form to knock with."""

import base64
import json
from collections.abc import Coroutine
from typing import Any

import jwt

from tests.tokens import ISSUER, RSA_KEY, public_pem
from userdata.identity import Configuration, Identity, TokenExpired, TokenInvalid, Verified

NOW = 1_800_000_000  # when the tests of tokens take place
LEEWAY = 30
HEADER = {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
TRUST: dict[str, Any] = {"issuer": ISSUER, "public_key": public_pem(RSA_KEY), "leeway_seconds": LEEWAY}


def identity(**changes: Any) -> Identity:
    """Trusts the tokens of `tests.tokens`, but for the changes."""
    return Identity(Configuration(**(TRUST | changes)))


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never has to wait; without any event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise AssertionError("it waits for something")


def verify(token: str | bytes, door: Identity | None = None, **trust: Any) -> Verified:
    raw = token if isinstance(token, bytes) else token.encode()
    verified: Verified = at_once((door or identity(**trust)).verify(raw))
    return verified


def outcome(token: str | bytes, door: Identity | None = None, **trust: Any) -> str:
    """'good', or why the token is refused; 'expired: ' tells the two exceptions apart."""
    try:
        verify(token, door, **trust)
    except TokenExpired as refusal:
        return f"expired: {refusal}"
    except TokenInvalid as refusal:
        return str(refusal)
    return "good"


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: Any, payload: Any, alg: str = "RS256", key: Any = RSA_KEY) -> str:
    """A token with a good signature over any two segments whatever."""
    signing_input = f"{segment(header)}.{segment(payload)}"
    algorithm = jwt.get_algorithm_by_name(alg)
    return f"{signing_input}.{segment(algorithm.sign(signing_input.encode(), algorithm.prepare_key(key)))}"
