"""The tokens that were verified before: bounded, bound to the keys, and never beyond their time."""

from typing import Any

import pytest
from time_machine import Traveller

from tests.identity.door import NOW, at_once, identity, outcome, verify
from tests.identity.keymaker import jwk, private_key
from tests.identity.keyserver import KeyServer
from tests.identity.loop import Loop
from tests.tokens import OTHER_RSA_KEY, token
from userdata.identity import TokenInvalid, claims
from userdata.identity.claims import Verified
from userdata.identity.principal import Principal
from userdata.identity.verified import VerifiedTokens

EXPIRED = "expired: The token has expired."


def verified(sub: str = "u1") -> Verified:
    return Verified(Principal(sub, "a1", frozenset()), 0, NOW)


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture
def signature_checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The tokens whose signature was checked."""
    checked: list[bytes] = []
    check = claims.verify_signature

    def counted(token: bytes, *rest: Any) -> Any:
        checked.append(token)
        return check(token, *rest)

    monkeypatch.setattr("userdata.identity.verify_signature", counted)
    return checked


def test_a_token_that_comes_again_is_not_verified_again(clock: Traveller, signature_checks: list[bytes]) -> None:
    door, bearer = identity(), token()

    first, second = verify(bearer, door), verify(bearer, door)

    assert first is second
    assert signature_checks == [bearer.encode()]


def test_its_time_is_checked_at_each_use(clock: Traveller, signature_checks: list[bytes]) -> None:
    door, bearer = identity(leeway_seconds=30), token(nbf=NOW - 10, exp=NOW + 300)
    assert outcome(bearer, door) == "good"

    clock.move_to(NOW + 329)
    assert outcome(bearer, door) == "good"
    clock.move_to(NOW + 330)
    assert outcome(bearer, door) == EXPIRED
    clock.move_to(NOW - 41)
    assert outcome(bearer, door) == "The token is not valid yet."
    clock.move_to(NOW)
    assert outcome(bearer, door) == "good"
    assert len(signature_checks) == 1


def test_a_token_that_differs_in_its_last_byte_is_another(clock: Traveller, signature_checks: list[bytes]) -> None:
    door, bearer = identity(), token()
    assert outcome(bearer, door) == "good"

    assert outcome(bearer[:-1], door) == "The token's signature is malformed."
    assert outcome(bearer + "A", door) != "good"
    assert len(signature_checks) == 3


@pytest.mark.parametrize("bad", [{"key": OTHER_RSA_KEY}, {"iss": "x"}, {"sub": ""}], ids=lambda bad: next(iter(bad)))
def test_a_token_that_is_invalid_is_checked_each_time(
    clock: Traveller, signature_checks: list[bytes], bad: dict[str, Any]
) -> None:
    door, bearer = identity(), token(**bad)

    assert outcome(bearer, door) == outcome(bearer, door) != "good"
    assert len(signature_checks) == 2


def test_a_withdrawn_key_takes_its_tokens_with_it(loop: Loop, server: KeyServer) -> None:
    """The clock of the day is real here, and the loop's is not."""
    server.publish(jwk("key-1"), jwk("key-2"))
    door = identity(public_key="", jwks_url=server.url, algorithms=["ES256"], refresh_seconds=60)
    old, new = (token(key=private_key(f"key-{n}"), alg="ES256", headers={"kid": f"key-{n}"}).encode() for n in (1, 2))
    loop(door.verify(old))
    loop(door.verify(new))
    assert at_once(door.verify(old)).principal.app == "demo-app"

    server.publish(jwk("key-2"))
    fetches = len(server.requests)
    loop.skip(61)
    loop.until(lambda: len(server.requests) > fetches and "1 keys" in door.status().detail)

    with pytest.raises(TokenInvalid, match=r"^The token's key is not known\.$"):
        loop(door.verify(old))
    assert loop(door.verify(new)).principal.app == "demo-app"
    loop(door.close())


def test_the_newest_are_kept() -> None:
    tokens = VerifiedTokens(size=3)
    for number in range(5):
        tokens.add(digest(number), 0, verified(f"u{number}"))

    kept = [found.principal.sub for number in range(5) if (found := tokens.get(digest(number), 0))]

    assert kept == ["u2", "u3", "u4"]


def test_one_that_is_added_twice_takes_one_place() -> None:
    tokens = VerifiedTokens(size=2)
    for number in (0, 1, 1, 1):
        tokens.add(digest(number), 0, verified())

    assert tokens.get(digest(0), 0)


def test_none_outlives_a_change_of_keys() -> None:
    tokens = VerifiedTokens()
    tokens.add(digest(1), 7, verified())
    assert tokens.get(digest(1), 7)

    assert tokens.get(digest(1), 8) is None
    assert tokens.get(digest(1), 7) is None
    tokens.add(digest(2), 9, verified())
    assert tokens.get(digest(2), 9)
    tokens.add(digest(3), -1, verified())
    assert tokens.get(digest(2), 9) is None
