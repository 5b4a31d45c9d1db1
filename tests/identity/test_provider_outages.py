"""A provider that does not answer, or not well: what is said meanwhile. No network and no waiting here."""

import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.identity.door import at_once, identity
from tests.identity.keymaker import jwk
from tests.identity.loop import Loop
from tests.identity.stand_in import Provider, count, public_key
from userdata.identity import KeysUnavailable
from userdata.identity.discovery import FetchFailed
from userdata.identity.provider import ProviderKeys

Find = Callable[..., Any]

DOWN = FetchFailed("http://issuer.example/keys answered 503")


def test_without_any_keys_nothing_can_be_told(provider: Provider, keys: ProviderKeys, loop: Loop, find: Find) -> None:
    provider.answer = DOWN

    assert find("a", None) == ["unavailable"] * 2
    status = keys.status()
    assert (status.usable, status.age_seconds) == (False, None)
    assert status.detail == "no usable keys: http://issuer.example/keys answered 503"
    assert keys.generation == -1

    provider.publish(jwk("a"))
    loop.skip(10)
    assert find("a") == public_key("a")


def test_before_the_first_fetch_there_are_none() -> None:
    status = identity(public_key="", jwks_url="https://issuer.example/keys").status()

    assert (status.usable, status.age_seconds, status.detail) == (False, None, "no usable keys: not fetched yet")


def test_a_request_waits_for_two_seconds_at_most(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    provider.hang()
    waiting = [loop.begin(keys.find(f"invented {number}", "ES256")) for number in range(50)]
    loop.skip(1.9)
    assert not any(each.done() for each in waiting)

    loop.skip(0.2)

    assert all(isinstance(each.exception(), KeysUnavailable) for each in waiting)
    assert len(provider.fetches) == 1


def test_whether_a_key_is_unknown_can_not_be_told_while_the_provider_is_down(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    find("a")
    provider.answer = DOWN

    assert find("rotated", "rotated", "a") == ["unavailable", "unavailable", public_key("a")]
    assert find("a", alg="RS256") is None
    assert find("rotated") == "unavailable"
    assert len(provider.fetches) == 2

    provider.publish(jwk("a"), jwk("rotated"))
    loop.skip(5.1)
    assert find("rotated") == public_key("rotated")


def test_stale_keys_serve_until_their_maximum_age_and_no_longer(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find
) -> None:
    find("a")
    provider.answer = DOWN

    for _ in range(23):
        loop.skip(3600)
        assert at_once(keys.find("a", "ES256")) == public_key("a")
    assert keys.generation == 1
    assert keys.status().usable
    assert keys.status().age_seconds == pytest.approx(23 * 3600, abs=1)
    assert keys.status().detail == "1 keys from the provider; not refreshed: http://issuer.example/keys answered 503"

    loop.skip(3600)
    assert find("a") == "unavailable"
    assert keys.generation == -1
    assert not keys.status().usable
    assert keys.status().age_seconds == pytest.approx(86_400, abs=1)

    provider.publish(jwk("a"))
    loop.skip(30)
    assert find("a") == public_key("a")
    assert keys.generation == 1
    assert keys.status().detail == "1 keys from the provider"


def test_keys_that_are_too_old_tell_nothing_even_while_nobody_may_be_asked(provider: Provider, loop: Loop) -> None:
    keys = ProviderKeys(provider, 300, 3, clock=loop.time)
    loop(keys.find("a", "ES256"))
    assert loop(keys.find("invented", "ES256")) is None
    loop.skip(4)

    with pytest.raises(KeysUnavailable):
        loop(keys.find("a", "ES256"))
    loop.skip(1)
    assert loop(keys.find("a", "ES256")) == public_key("a")
    loop(keys.close())


def test_failures_are_followed_by_longer_and_longer_pauses(provider: Provider, loop: Loop, find: Find) -> None:
    provider.answer = DOWN
    assert find("a") == "unavailable"

    for _ in range(1000):
        loop.skip(0.1)

    pauses = [later - earlier for earlier, later in pairwise(provider.fetches)]
    assert len(pauses) >= 4
    for pause, longest in zip(pauses[:4], (10, 20, 30, 30), strict=True):
        assert longest / 2 <= pause <= longest + 0.5

    provider.publish(jwk("a"))
    loop.skip(30)
    provider.answer, fetches = DOWN, len(provider.fetches)
    loop.skip(300)
    loop.skip(10)
    assert len(provider.fetches) - fetches == 2


def test_there_is_one_fetch_at_a_time(provider: Provider, keys: ProviderKeys, loop: Loop, find: Find) -> None:
    find("a")
    provider.hang()
    for number in range(20):
        waiting = loop.begin(keys.find(f"invented {number}", "ES256"))
        loop.skip(400)
        assert isinstance(waiting.exception(), KeysUnavailable)
    provider.go_on()
    loop.skip(0)
    loop.skip(400)

    assert len(provider.fetches) == 3
    assert provider.most_at_once == 1


def test_a_failure_is_logged_once_and_so_is_its_end(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    good, bad = (count("jwks_refreshes", outcome=outcome) for outcome in ("success", "failure"))
    find("a")
    provider.answer = DOWN
    for _ in range(3):
        loop.skip(300)
    provider.publish(jwk("a"))
    loop.skip(300)

    assert [record.message for record in caplog.records] == [
        "keys from the provider verify tokens: a, without a name",
        "keys not refreshed: http://issuer.example/keys answered 503",
        "keys are refreshed again",
    ]
    assert count("jwks_refreshes", outcome="success") == good + 2
    assert count("jwks_refreshes", outcome="failure") >= bad + 3


def test_an_unforeseen_error_is_logged_with_its_traceback_and_survived(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find, caplog: pytest.LogCaptureFixture
) -> None:
    provider.answer = RuntimeError("a bug")

    assert find("a") == "unavailable"
    assert "Traceback" in caplog.text
    assert keys.status().detail == "no usable keys: RuntimeError a bug"

    provider.publish(jwk("a"))
    loop.skip(10)
    assert find("a") == public_key("a")


@pytest.mark.parametrize("hanging", [True, False])
def test_after_the_end_nothing_is_fetched_any_more(
    provider: Provider, keys: ProviderKeys, loop: Loop, find: Find, hanging: bool
) -> None:
    find("a")
    if hanging:
        provider.hang()
    loop.skip(300)
    assert (provider.now, len(provider.fetches)) == (int(hanging), 2)

    loop(keys.close())
    loop.skip(1000)

    assert (provider.now, len(provider.fetches)) == (0, 2)
