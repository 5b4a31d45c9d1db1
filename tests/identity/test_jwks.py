"""Keys from a provider's URL: what goes wrong with providers, against real HTTP on loopback and in real time."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from tests.identity import keyserver
from tests.identity.keymaker import jwk, private_jwk, private_key, signed
from tests.identity.keyserver import KeyServer, say
from userdata.jwks import JWKS
from userdata.jwks_read import read_keys
from userdata.keys import KeyNotFound, KeysUnavailable

ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"]
AT_ONCE = 0.1  # seconds: no network, no waiting

MakeKeys = Callable[..., JWKS]


@pytest.fixture
def make_keys(server: KeyServer) -> Iterator[MakeKeys]:
    """Makes started key sources; the usual one refreshes when asked only."""
    made: list[JWKS] = []

    def make(**options: Any) -> JWKS:
        if not options.keys() & {"url", "issuer"}:
            options["url"] = server.url
        made.append(JWKS(**{"algorithms": ALGORITHMS, "refresh_seconds": 60, "timeout_seconds": 1} | options))
        made[-1].start()
        return made[-1]

    yield make
    for keys in made:
        keys.stop()


def until(condition: Callable[[], object], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def seconds_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def refused(keys: JWKS, kid: str | None, alg: str = "ES256") -> type[Exception] | None:
    try:
        keys.find(kid, alg)
    except (KeyNotFound, KeysUnavailable) as refusal:
        return type(refusal)
    return None


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"userdata_{name}_total", labels) or 0.0


# Which key verifies what


@pytest.mark.parametrize("alg", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_it_finds_the_key_that_verifies_a_token(server, make_keys, alg):
    server.publish(jwk("other", "ES256"), jwk("a", alg))

    key = make_keys().find("a", alg)

    payload = jwt.PyJWS().decode(signed("a", alg), key, algorithms=[alg])
    assert payload == b"payload"


@pytest.mark.parametrize(
    "members",
    [{"use": None}, {"alg": None}, {"use": None, "alg": None}, {"key_ops": ["verify"]}, {"key_ops": ["x", "verify"]}],
)
def test_what_a_provider_leaves_out_is_not_missed(server, make_keys, members):
    server.publish(jwk("a", "RS256", **members))

    assert make_keys().find("a", "RS256")


def test_a_null_stands_for_what_is_left_out(server, make_keys):
    server.publish(jwk("a", "RS256") | {"use": None, "alg": None, "key_ops": None, "d": None})

    assert make_keys().find("a", "RS256")


@pytest.mark.parametrize(
    ("published", "alg"),
    [
        pytest.param(jwk("a", "RS256"), "ES256", id="RSA for ES256"),
        pytest.param(jwk("a", "ES256"), "RS256", id="EC for RS256"),
        pytest.param(jwk("a", "ES256", alg=None), "ES384", id="P-256 for ES384"),
        pytest.param(jwk("a", "ES512", alg=None), "ES256", id="P-521 for ES256"),
        pytest.param(jwk("a", "ES256K", alg=None), "ES256", id="secp256k1 for ES256"),
        pytest.param(jwk("a", "EdDSA"), "ES256", id="Ed25519 for ES256"),
        pytest.param(jwk("a", "RS256"), "PS256", id="a key published for RS256 only"),
        pytest.param(jwk("a", "RS256", bits=1024), "RS256", id="1024 bits"),
        pytest.param(jwk("a", use="enc"), "ES256", id="for encryption"),
        pytest.param(jwk("a", use="SIG"), "ES256", id="for an unknown use"),
        pytest.param(jwk("a", key_ops=["sign"]), "ES256", id="for signing only"),
        pytest.param(jwk("a", key_ops="verify"), "ES256", id="ill-formed operations"),
        pytest.param(jwk("a", x="AAAA"), "ES256", id="not on its curve"),
        pytest.param(jwk("a", kty="oct", k="c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"), "ES256", id="a secret"),
        pytest.param(jwk("a", kty=["EC"]), "ES256", id="ill-formed type"),
        pytest.param(jwk(7), "ES256", id="a number for a name"),
        pytest.param(jwk("A"), "ES256", id="another name"),
        pytest.param(private_jwk("a"), "ES256", id="a private key"),
        pytest.param("a", "ES256", id="not an object"),
    ],
)
def test_a_key_that_does_not_fit_is_not_found(server, make_keys, published, alg):
    server.publish(published, jwk("good", "RS256"), jwk("good", "ES256"))

    keys = make_keys()

    assert refused(keys, "a", alg) is KeyNotFound
    assert keys.find("good", alg if alg in ("RS256", "ES256") else "ES256")


def test_keys_that_share_a_name_are_told_apart_by_fit(server, make_keys):
    server.publish(jwk("a", "ES256"), jwk("a", "RS256"), jwk("a", "ES384"))

    keys = make_keys()

    assert [type(keys.find("a", alg)).__name__ for alg in ("RS256", "ES256")] == ["RSAPublicKey", "ECPublicKey"]
    assert keys.find("a", "ES384") == private_key("a", "ES384").public_key()


def test_a_token_without_kid_needs_a_key_that_is_alone_in_fitting(server, make_keys):
    server.publish(jwk("a", "RS256"), jwk("b", "ES256"), jwk("c", "ES256"), jwk("d", "ES384", use="enc"))

    keys = make_keys()

    assert keys.find(None, "RS256") == keys.find("a", "RS256")
    assert refused(keys, None, "ES256") is KeyNotFound
    assert refused(keys, None, "ES384") is KeyNotFound


def test_algorithms_that_are_not_configured_have_no_key(server, make_keys):
    server.publish(jwk("a", "RS256"), jwk("b", "ES256"))

    keys = make_keys(algorithms=["ES256"])

    assert refused(keys, "a", "RS256") is KeyNotFound
    assert keys.find("b", "ES256")


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kty", "crv", "x", "y", "n", "e", "use", "key_ops", "alg", "kid", "k", "d"]),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.text()
                | st.sampled_from(["EC", "RSA", "OKP", "oct", "P-256", "Ed25519", "AQAB"]),
                lambda some: st.lists(some, max_size=2) | st.dictionaries(st.text(), some, max_size=2),
            ),
        )
        | st.integers()
        | st.none()
    )
)
def test_any_key_set_whatever_can_be_read(members):
    read_keys(members, ALGORITHMS)


# Rotation


def test_a_rotated_key_works_on_its_first_use(server, make_keys):
    server.publish(jwk("old"))
    keys = make_keys()
    assert keys.find("old", "ES256")

    server.publish(jwk("old"), jwk("new"))

    assert keys.find("new", "ES256")
    assert keys.find("old", "ES256")
    assert len(server.requests) == 2


def test_a_rotated_key_works_for_all_who_use_it_first_at_the_same_time(server, make_keys):
    server.publish(jwk("old"))
    keys = make_keys(max_waiting=4)
    assert keys.find("old", "ES256")

    server.publish(jwk("new"))

    with ThreadPoolExecutor(32) as users:
        found = list(users.map(lambda _: keys.find("new", "ES256"), range(200)))
    assert found == [private_key("new").public_key()] * 200
    assert len(server.requests) == 2
    assert refused(keys, "old") is KeyNotFound


def test_a_removed_key_stops_verifying_at_the_next_refresh(server, make_keys):
    server.publish(jwk("a"), jwk("b"))
    keys = make_keys(refresh_seconds=0.3)
    assert keys.find("a", "ES256")
    generation = keys.generation

    server.publish(jwk("b"))
    time.sleep(0.4)

    assert refused(keys, "a") is KeyNotFound
    assert keys.generation == generation + 1


def test_the_generation_changes_with_the_keys_only(server, make_keys):
    server.publish(jwk("a"), jwk("b"))
    keys = make_keys(refresh_seconds=0.1)
    keys.find("a", "ES256")
    assert keys.generation == 1

    server.publish(jwk("b"), jwk("a"), jwk("c", use="enc"))
    before = len(server.requests)
    until(lambda: len(server.requests) >= before + 3)
    assert keys.generation == 1

    server.publish(jwk("a"), jwk("b", "RS256"))
    until(lambda: keys.generation == 2)


# Kids that nobody knows


def test_an_unknown_kid_causes_one_fetch_in_a_cool_down(server, make_keys):
    server.publish(jwk("a"))
    keys = make_keys(cooldown_seconds=0.5)
    keys.find("a", "ES256")

    assert [refused(keys, f"invented {number}") for number in range(100)] == [KeyNotFound] * 100
    assert len(server.requests) == 2

    time.sleep(0.5)
    assert refused(keys, "invented too") is KeyNotFound
    assert len(server.requests) == 3


def test_a_kid_that_the_provider_did_not_know_is_not_asked_for_again(server, make_keys):
    server.publish(jwk("a"))
    keys = make_keys(cooldown_seconds=0.05)
    keys.find("a", "ES256")

    for _ in range(5):
        assert refused(keys, "invented") is KeyNotFound
        time.sleep(0.06)

    assert len(server.requests) == 2


def test_a_kid_that_was_unknown_is_found_once_a_refresh_brings_it(server, make_keys):
    server.publish(jwk("a"))
    keys = make_keys(refresh_seconds=0.3)
    keys.find("a", "ES256")
    assert refused(keys, "late") is KeyNotFound

    server.publish(jwk("a"), jwk("late"))

    until(lambda: not refused(keys, "late"), seconds=0.5)


def test_the_memory_of_unknown_kids_is_bounded(server, make_keys):
    server.publish(jwk("a"))
    keys = make_keys(cooldown_seconds=0)
    keys.find("a", "ES256")

    for number in range(1200):
        assert refused(keys, f"invented {number}") is KeyNotFound

    assert len(keys._unknown) == 1000


def test_a_known_kid_for_another_algorithm_asks_for_nothing(server, make_keys):
    server.publish(jwk("a", "RS256"))
    keys = make_keys()
    keys.find("a", "RS256")

    assert refused(keys, "a", "ES256") is KeyNotFound
    assert len(server.requests) == 1


def test_ten_thousand_invented_kids_in_ten_seconds_cause_three_fetches_at_most(server, make_keys):
    server.publish(jwk("good"))
    keys = make_keys()
    assert keys.find("good", "ES256")
    before, unknown_before = len(server.requests), count("jwks_unknown_kids")
    began = time.monotonic()
    good: list[float] = []

    def flood(part: int) -> Counter[object]:
        answers: Counter[object] = Counter()
        for number in range(2500):
            time.sleep(max(0.0, began + number * 0.004 - time.monotonic()))
            answers[refused(keys, f"invented {part} {number}")] += 1
        return answers

    def use() -> None:
        while time.monotonic() < began + 10:
            good.append(seconds_of(lambda: keys.find("good", "ES256")))
            time.sleep(0.002)

    with ThreadPoolExecutor(5) as threads:
        using = threads.submit(use)
        answers = sum(threads.map(flood, range(4)), Counter())
        using.result()

    assert answers == {KeyNotFound: 10_000}
    assert len(server.requests) - before <= 3
    assert sorted(good)[int(len(good) * 0.99)] < 0.01
    assert count("jwks_unknown_kids") - unknown_before == 10_000


# Bad answers and outages

BAD_ANSWERS = [
    pytest.param(say(200, b"<!doctype html>", "text/html"), "answered 'text/html' that is not JSON", id="HTML"),
    pytest.param(say(503, b"<h1>Unavailable</h1>", "text/html"), "answered 503", id="503"),
    pytest.param(say(403, b"{}"), "answered 403", id="403"),
    pytest.param(say(204, b""), "answered 204", id="204"),
    pytest.param(say(302, b"", Location="/keys2"), "answered 302, and redirects are not followed", id="redirect"),
    pytest.param(say(200, b'{"keys": []}'), "answered JSON that holds no keys", id="empty set"),
    pytest.param(say(200, b"{}"), "answered JSON that holds no keys", id="no set"),
    pytest.param(say(200, b'{"keys": {"a": 1}}'), "answered JSON that holds no keys", id="ill-formed set"),
    pytest.param(say(200, b"[]"), "answered JSON that is not an object", id="array"),
    pytest.param(say(200, b""), "that is not JSON", id="empty body"),
    pytest.param(say(200, b"[" * 100_000), "that is not JSON", id="deep nesting"),
    pytest.param(say(200, b'{"keys": "\xff"}'), "that is not JSON", id="not UTF-8"),
    pytest.param(say(200, b"[1, " + b" " * 600_000 + b"]"), "answered more than 524288 bytes", id="huge body"),
    pytest.param(keyserver.reset, "broke off: ", id="reset in mid-body"),
    pytest.param(keyserver.drip_body, "took longer than 0.3 s", id="slow drip of a body"),
    pytest.param(keyserver.drip_headers, "took longer than 0.3 s", id="slow drip of headers"),
    pytest.param(keyserver.hang, "took longer than 0.3 s", id="no answer"),
    pytest.param(KeyServer.down, "can't be reached: ", id="down"),
    pytest.param(
        lambda server: server.publish(jwk("a", use="enc"), jwk("b", "RS256", use="enc")),
        "publishes 2 keys, none of which verifies RS256 or PS256 or ES256 or ES384 or ES512 or EdDSA",
        id="keys for encryption only",
    ),
]


def answer_badly(server: KeyServer, bad: Any) -> None:
    if bad is KeyServer.down or bad.__code__.co_varnames[:1] == ("server",):
        bad(server)
    else:
        server.answer = bad


@pytest.mark.parametrize(("bad", "cause"), BAD_ANSWERS)
def test_a_bad_answer_is_logged_once_and_the_last_good_set_stays(server, make_keys, caplog, bad, cause):
    caplog.set_level(logging.INFO)
    server.publish(jwk("a"))
    keys = make_keys(refresh_seconds=0.2, timeout_seconds=0.3, cooldown_seconds=0.1)
    keys.find("a", "ES256")
    failures = count("jwks_refreshes", outcome="failure")

    answer_badly(server, bad)
    until(lambda: count("jwks_refreshes", outcome="failure") >= failures + 3)

    assert seconds_of(lambda: keys.find("a", "ES256")) < AT_ONCE
    assert keys.status().usable
    assert cause in keys.status().detail
    assert [cause in record.message for record in caplog.records if record.levelno == logging.WARNING] == [True]

    server.down()
    server.up()
    server.publish(jwk("b"))
    until(lambda: not refused(keys, "b"))
    assert keys.status().detail == f"1 keys from {server.url}"


@pytest.mark.parametrize(("bad", "cause"), BAD_ANSWERS)
def test_with_no_good_set_ever_seen_keys_are_unavailable_until_they_come(server, make_keys, bad, cause):
    answer_badly(server, bad)
    keys = make_keys(refresh_seconds=0.2, timeout_seconds=0.3, cooldown_seconds=0.1)

    until(lambda: cause in keys.status().detail)
    assert not keys.status().usable
    assert keys.status().age_seconds is None
    assert keys.generation == -1
    assert refused(keys, "a") is KeysUnavailable
    assert refused(keys, None) is KeysUnavailable

    server.down()
    server.up()
    server.publish(jwk("a"))
    until(lambda: not refused(keys, "a"))
    assert keys.status().usable


def test_a_first_request_waits_for_the_first_fetch(server, make_keys):
    server.publish(jwk("a"))
    publish = server.answer
    server.answer = lambda request: (time.sleep(0.5), publish(request))

    assert make_keys().find("a", "ES256")
    assert len(server.requests) == 1


@pytest.mark.parametrize("bad", [keyserver.hang, keyserver.drip_body, KeyServer.down])
def test_without_keys_an_answer_comes_in_less_than_two_and_a_half_seconds(server, make_keys, bad):
    answer_badly(server, bad)
    keys = make_keys(timeout_seconds=3)

    for _ in range(2):
        assert seconds_of(lambda: refused(keys, "a")) < 2.5
        assert refused(keys, "a") is KeysUnavailable


def test_requests_do_not_wait_on_the_network_while_a_key_is_at_hand(server, make_keys):
    server.publish(jwk("a"))
    keys = make_keys(refresh_seconds=0.2)
    keys.find("a", "ES256")

    server.answer = keyserver.hang
    until(lambda: server.now == 1)
    slowest = max(seconds_of(lambda: keys.find("a", "ES256")) for _ in range(20_000))

    assert server.now == 1
    assert slowest < AT_ONCE


def test_stale_keys_serve_until_their_maximum_age_and_no_longer(server, make_keys):
    server.publish(jwk("a"))
    keys = make_keys(refresh_seconds=0.2, max_age_seconds=1.5)
    keys.find("a", "ES256")
    fetched_at = time.monotonic()
    server.down()

    while time.monotonic() < fetched_at + 1.2:
        assert seconds_of(lambda: keys.find("a", "ES256")) < AT_ONCE
        assert keys.generation == 1
    time.sleep(0.4)

    assert seconds_of(lambda: refused(keys, "a")) < AT_ONCE
    assert refused(keys, "a") is KeysUnavailable
    assert keys.generation == -1
    assert not keys.status().usable
    assert keys.status().age_seconds > 1.5

    server.up()
    until(lambda: not refused(keys, "a"))
    assert keys.generation == 1


def test_with_keys_too_old_a_request_waits_for_the_refresh_under_way(server, make_keys):
    server.publish(jwk("a"))
    keys = make_keys(refresh_seconds=0.7, max_age_seconds=0.8)
    keys.find("a", "ES256")
    publish = server.answer
    server.answer = lambda request: (time.sleep(0.5), publish(request))

    until(lambda: keys.generation == -1)

    assert keys.find("a", "ES256")


def test_whether_a_kid_is_unknown_can_not_be_told_while_the_provider_is_down(server, make_keys):
    server.publish(jwk("a"))
    keys = make_keys(cooldown_seconds=0.3)
    keys.find("a", "ES256")
    server.down()

    assert [refused(keys, "rotated") for _ in range(3)] == [KeysUnavailable] * 3
    assert refused(keys, "a", "RS256") is KeyNotFound

    server.up()
    server.publish(jwk("a"), jwk("rotated"))
    until(lambda: not refused(keys, "rotated"))


def test_failures_are_followed_by_longer_and_longer_pauses(server, make_keys):
    server.answer = say(503, b"")
    make_keys(cooldown_seconds=0.1)

    until(lambda: len(server.requests) >= 5, seconds=8)

    times = [at for at, _ in server.requests]
    pauses = [later - earlier for earlier, later in pairwise(times)][:4]
    for pause, longest in zip(pauses, (0.2, 0.4, 0.8, 1.6), strict=True):
        assert longest / 2 <= pause <= longest + 0.2


def test_there_is_one_fetch_at_a_time(server, make_keys):
    server.publish(jwk("a"))
    publish = server.answer
    server.answer = lambda request: (time.sleep(0.1), publish(request))
    keys = make_keys(refresh_seconds=0.05, cooldown_seconds=0)

    with ThreadPoolExecutor(20) as users:
        assert set(users.map(lambda number: refused(keys, f"invented {number}"), range(100))) <= {
            KeyNotFound,
            KeysUnavailable,
        }

    assert server.most_at_once == 1
    assert len(server.requests) >= 2


def test_a_crowd_does_not_wait_for_a_provider_that_hangs(server, make_keys):
    server.publish(jwk("a"))
    keys = make_keys(wait_seconds=0.8, max_waiting=3)
    keys.find("a", "ES256")
    server.answer = keyserver.hang

    with ThreadPoolExecutor(20) as users:
        took = sorted(users.map(lambda number: seconds_of(lambda: refused(keys, f"invented {number}")), range(20)))

    assert took[16] < 0.5
    assert 0.75 < took[17] <= took[19] < 1.0


def test_a_fetch_that_drips_on_leaves_no_thread_behind(server, make_keys):
    server.answer = keyserver.drip_headers
    keys = make_keys(timeout_seconds=0.3)

    until(lambda: "took longer" in keys.status().detail)

    until(lambda: not threads_named("jwks-fetch"), seconds=0.5)


def test_starting_twice_starts_once(server, make_keys):
    server.publish(jwk("a"))
    keys = make_keys()
    refreshing = threads_named("jwks-refresh")

    keys.start()
    keys.find("a", "ES256")

    assert set(threads_named("jwks-refresh")) <= set(refreshing)
    assert len(server.requests) == 1


def test_refreshes_are_counted_by_outcome(server, make_keys):
    good, bad = (count("jwks_refreshes", outcome=outcome) for outcome in ("success", "failure"))
    server.publish(jwk("a"))
    keys = make_keys()
    keys.find("a", "ES256")
    assert (count("jwks_refreshes", outcome="success"), count("jwks_refreshes", outcome="failure")) == (good + 1, bad)

    server.down()
    refused(keys, "b")
    assert (count("jwks_refreshes", outcome="success"), count("jwks_refreshes", outcome="failure")) == (
        good + 1,
        bad + 1,
    )


def test_the_age_is_that_of_the_last_good_answer(server, make_keys):
    server.publish(jwk("a"), jwk("b"))
    keys = make_keys()
    keys.find("a", "ES256")
    time.sleep(0.3)

    status = keys.status()

    assert status.usable
    assert 0.3 <= status.age_seconds < 0.6
    assert status.detail == f"2 keys from {server.url}"


def test_key_material_is_not_logged(server, make_keys, caplog):
    caplog.set_level(logging.DEBUG)
    published = jwk("a", "RS256")
    server.publish(published, private_jwk("b"))
    make_keys().find("a", "RS256")

    assert "a" in caplog.text
    assert published["n"][:20] not in caplog.text
    assert private_jwk("b")["d"][:20] not in caplog.text
