"""A provider's keys over time: refreshing, rotation, invented names of keys. Mostly no network, and no waiting."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.identity.door import at_once, identity
from tests.identity.keymaker import jwk, private_key
from tests.identity.keyserver import KeyServer
from tests.identity.loop import Loop
from tests.identity.stand_in import Provider, count, public_key
from tests.tokens import token
from userdata.identity import KeysUnavailable, TokenInvalid
from userdata.identity.provider import ProviderKeys

Find = Callable[..., Any]


async def result_of(task: asyncio.Task[Any]) -> Any:
    return await task


# Refreshing


def test_keys_are_refreshed_in_the_background(provider: Provider, keys: ProviderKeys, loop: Loop) -> None:
    async def start_twice() -> None:
        keys.start()
        keys.start()

    loop.begin(start_twice())
    for refreshes in range(1, 5):
        assert len(provider.fetches) == refreshes
        loop.skip(239)
        assert len(provider.fetches) == refreshes
        loop.skip(61)
    pauses = [later - earlier for earlier, later in pairwise(provider.fetches)]
    assert all(240 <= pause <= 301 for pause in pauses)


def test_the_first_request_waits_for_the_first_fetch(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    provider.hang()
    finding = loop.begin(keys.find("a", "ES256"))
    assert not finding.done()

    provider.go_on()

    assert loop(result_of(finding)) == public_key("a")
    assert len(provider.fetches) == 1


def test_no_request_waits_while_its_key_is_at_hand(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    find("a")
    provider.hang()
    loop.skip(301)
    assert provider.now == 1

    assert at_once(keys.find("a", "ES256")) == public_key("a")


def test_a_removed_key_counts_no_more_after_the_next_refresh(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    provider.publish(jwk("a"), jwk("b"))
    assert find("a", "b") == [public_key("a"), public_key("b")]
    generation = keys.generation

    provider.publish(jwk("b"))
    loop.skip(300)

    assert find("a", "b") == [None, public_key("b")]
    assert keys.generation == generation + 1


def test_the_generation_changes_with_the_keys_only(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    provider.publish(jwk("a"), jwk("b"))
    assert keys.generation == -1
    find("a")
    assert keys.generation == 1

    provider.publish(jwk("b"), jwk("a"), jwk("c", use="enc"))
    loop.skip(300)
    assert (len(provider.fetches), keys.generation) == (2, 1)

    provider.publish(jwk("a"), jwk("b", "RS256"))
    loop.skip(300)
    assert (len(provider.fetches), keys.generation) == (3, 2)


# Keys that nobody knows yet


def test_a_rotated_key_works_on_its_first_use(provider: Provider, keys: ProviderKeys, find: Find) -> None:
    assert find("a") == public_key("a")

    provider.publish(jwk("a"), jwk("new"))

    assert find("new", "a") == [public_key("new"), public_key("a")]
    assert len(provider.fetches) == 2


def test_a_rotated_key_works_for_all_who_use_it_first_at_the_same_time(
    provider: Provider, keys: ProviderKeys, find: Find
) -> None:
    find("a")
    provider.publish(jwk("new"))

    assert find(*["new"] * 200) == [public_key("new")] * 200
    assert len(provider.fetches) == 2
    assert find("a") is None


def test_a_key_that_is_published_during_a_refresh_is_found_by_one_more(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    find("a")
    provider.hang()
    loop.skip(300)
    provider.publish(jwk("a"), jwk("new"))
    finding = loop.begin(keys.find("new", "ES256"))

    provider.go_on()

    assert loop(result_of(finding)) == public_key("new")
    assert len(provider.fetches) == 3


def test_unknown_keys_cause_one_fetch_in_five_seconds(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    find("a")

    assert find(*(f"invented {number}" for number in range(100))) == [None] * 100
    assert len(provider.fetches) == 2
    loop.skip(4.9)
    assert find("invented later") is None
    assert len(provider.fetches) == 2
    loop.skip(0.2)
    assert find("invented even later") is None
    assert len(provider.fetches) == 3


def test_ten_thousand_invented_kids_in_ten_seconds_cause_three_fetches_at_most(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    find("a")
    unknown = count("jwks_unknown_kids")

    for second in range(10):
        assert set(find(*(f"invented {second} {number}" for number in range(1000)))) == {None}
        loop.skip(1)

    assert len(provider.fetches) - 1 <= 3
    assert count("jwks_unknown_kids") - unknown == 10_000


def test_an_unknown_key_is_not_asked_for_again_within_a_minute(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    find("a")
    assert find("invented") is None
    assert len(provider.fetches) == 2

    loop.skip(59)
    assert find("invented") is None
    assert len(provider.fetches) == 2
    loop.skip(1)
    assert find("invented") is None
    assert len(provider.fetches) == 3


def test_a_key_that_was_unknown_is_found_once_a_refresh_brings_it(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    find("a")
    assert find("late") is None

    provider.publish(jwk("a"), jwk("late"))
    loop.skip(10)
    assert find("another") is None
    assert find("late") == public_key("late")


def test_a_key_that_could_not_be_asked_for_in_the_cool_down_is_asked_for_after_it(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    find("a")
    assert find("invented") is None
    provider.publish(jwk("a"), jwk("new"))
    assert find("new") is None
    assert len(provider.fetches) == 2

    loop.skip(5.1)

    assert find("new") == public_key("new")


def test_the_memory_of_unknown_keys_is_bounded(provider: Provider, keys: ProviderKeys, loop: Loop, find: Find) -> None:
    find("a")
    find(*(f"invented {number}" for number in range(1001)))
    loop.skip(5)

    find("invented 1000")
    assert len(provider.fetches) == 2
    find("invented 0")
    assert len(provider.fetches) == 3


def test_a_known_key_for_another_algorithm_asks_for_nothing(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    find("a")

    assert find("a", alg="RS256") is None
    assert len(provider.fetches) == 1


# At the door, over real HTTP


def test_tokens_are_verified_with_the_keys_of_a_provider(server: KeyServer, loop: Loop) -> None:
    server.answer = lambda request: request.send(503, b"")
    door = identity(public_key="", issuer=server.issuer, algorithms=["ES256"])
    bearer = token(iss=server.issuer, key=private_key("a"), alg="ES256", headers={"kid": "a"}).encode()
    with pytest.raises(KeysUnavailable):
        loop(door.verify(bearer))

    server.publish(jwk("a"))
    loop.skip(10)
    loop.until(lambda: door.status().usable)

    assert loop(door.verify(bearer)).principal.app == "demo-app"
    other = token(iss=server.issuer, key=private_key("a"), alg="ES256", headers={"kid": "b"}).encode()
    with pytest.raises(TokenInvalid, match=r"^The token's key is not known\.$"):
        loop(door.verify(other))
    assert at_once(door.verify(bearer)).principal.app == "demo-app"
    loop(door.close())
