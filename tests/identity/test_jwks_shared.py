"""Several processes of one service ask the provider as if they were one."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.identity import keyserver
from tests.identity.keymaker import jwk
from tests.identity.keyserver import KeyServer, say
from tests.identity.test_jwks import count, refused, seconds_of, until
from userdata.jwks import JWKS
from userdata.jwks_shared import Attempts
from userdata.keys import KeyNotFound, KeysUnavailable

LEFT_FROM_ANOTHER_BOOT = '{"at": 1e12, "ask_again_at": 1e12, "members": [], "cause": null}'


@pytest.fixture
def start_three(server: KeyServer, tmp_path: Path) -> Iterator[Callable[..., list[JWKS]]]:
    """Key sources as three processes would have them; only the folder is common to them."""
    started: list[JWKS] = []
    tmp_path.chmod(0o700)

    def start(**options: Any) -> list[JWKS]:
        options = {"algorithms": ["ES256"], "refresh_seconds": 60, "timeout_seconds": 1} | options
        started.extend(JWKS(url=server.url, shared=tmp_path, **options) for _ in range(3))
        for keys in started:
            keys.start()
        return started

    yield start
    for keys in started:
        keys.stop()


def test_the_first_fetch_is_for_all(server, start_three):
    server.publish(jwk("a"))

    assert [refused(keys, "a") for keys in start_three()] == [None] * 3
    assert len(server.requests) == 1


def test_a_rotated_key_works_on_its_first_use_in_each(server, start_three):
    server.publish(jwk("old"))
    processes = start_three()
    assert [refused(keys, "old") for keys in processes] == [None] * 3

    server.publish(jwk("new"))

    assert [refused(keys, "new") for keys in processes] == [None] * 3
    assert [refused(keys, "old") for keys in processes] == [KeyNotFound] * 3
    assert [keys.generation for keys in processes] == [2] * 3
    assert len(server.requests) == 2


def test_invented_kids_cause_one_fetch_in_a_cool_down_in_all(server, start_three):
    server.publish(jwk("a"))
    processes = start_three(cooldown_seconds=1)
    assert [refused(keys, "a") for keys in processes] == [None] * 3

    def flood(keys: JWKS) -> set[object]:
        began = time.monotonic()
        return {refused(keys, f"invented {number}") for number in range(300) if wait_until(began + number / 100)}

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(flood, processes)) == [{KeyNotFound}] * 3
    assert len(server.requests) - 1 <= 4


def test_a_refresh_of_one_is_a_refresh_of_all(server, start_three):
    server.publish(jwk("a"), jwk("b"))
    processes = start_three(refresh_seconds=0.5)
    assert [refused(keys, "a") for keys in processes] == [None] * 3
    began, before = time.monotonic(), len(server.requests)

    server.publish(jwk("b"))
    time.sleep(0.6)

    assert [refused(keys, "a") for keys in processes] == [KeyNotFound] * 3
    time.sleep(max(0.0, began + 3 - time.monotonic()))
    assert 4 <= len(server.requests) - before <= 9
    assert all(keys.status().age_seconds < 0.6 for keys in processes)


def test_a_failure_is_counted_and_logged_once_for_all(server, start_three, caplog):
    caplog.set_level(logging.INFO)
    failures = count("jwks_refreshes", outcome="failure")
    server.answer = say(503, b"")
    processes = start_three(refresh_seconds=0.5, cooldown_seconds=0.2)

    until(lambda: all("503" in keys.status().detail for keys in processes))
    assert [refused(keys, "a") for keys in processes] == [KeysUnavailable] * 3
    time.sleep(1.5)

    assert 2 <= count("jwks_refreshes", outcome="failure") - failures <= 6
    assert sum("answered 503" in record.message for record in caplog.records) <= 3
    server.publish(jwk("a"))
    until(lambda: not any(refused(keys, "a") for keys in processes))


def test_what_one_gets_after_an_outage_the_others_have_soon(server, start_three, tmp_path):
    server.answer = say(503, b"")
    processes = start_three(cooldown_seconds=30)
    until(lambda: all("503" in keys.status().detail for keys in processes))

    lucky = Attempts(lambda: [jwk("a")], 30, tmp_path, f"{server.url} None")
    assert lucky.latest(seen_at=time.monotonic(), due=True, asked=False)[1]

    until(lambda: all(keys.status().usable for keys in processes), seconds=1.5)
    assert [refused(keys, "a") for keys in processes] == [None] * 3
    assert len(server.requests) == 1


def test_a_provider_that_hangs_holds_nobody_up(server, start_three):
    server.publish(jwk("a"))
    processes = start_three(refresh_seconds=0.3)
    assert [refused(keys, "a") for keys in processes] == [None] * 3

    server.answer = keyserver.hang
    until(lambda: server.now == 1)

    for keys in processes:
        assert max(seconds_of(lambda: keys.find("a", "ES256")) for _ in range(1000)) < 0.1  # noqa: B023
    assert server.most_at_once == 1


def test_a_new_process_needs_no_provider_for_its_first_keys(server, start_three, tmp_path):
    server.publish(jwk("a"))
    processes = start_three()
    assert [refused(keys, "a") for keys in processes] == [None] * 3
    server.down()

    late = JWKS(url=server.url, algorithms=["ES256"], shared=tmp_path)
    late.start()

    assert refused(late, "a") is None
    late.stop()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"at": 1}', '{"at": "soon"}', LEFT_FROM_ANOTHER_BOOT])
def test_a_spoilt_file_is_survived(server, start_three, tmp_path, content):
    server.publish(jwk("a"))
    source = f"{server.url} None"
    Attempts(list, 5, tmp_path, source).latest(seen_at=0, due=True, asked=False)
    (left,) = tmp_path.glob("*.json")
    left.write_text(content)

    assert [refused(keys, "a") for keys in start_three()] == [None] * 3


def test_without_the_folder_each_fetches_for_itself(server, start_three, tmp_path):
    server.publish(jwk("a"))
    processes = start_three()
    assert [refused(keys, "a") for keys in processes] == [None] * 3
    shutil.rmtree(tmp_path)

    server.publish(jwk("b"))

    assert [refused(keys, "b") for keys in processes] == [None] * 3
    assert len(server.requests) == 4


def test_keys_of_one_provider_are_not_taken_for_those_of_another(server, start_three, tmp_path):
    server.publish(jwk("a"))
    assert [refused(keys, "a") for keys in start_three()] == [None] * 3
    server.publish(jwk("b"))

    other = JWKS(url=f"{server.url}/other", algorithms=["ES256"], shared=tmp_path)
    other.start()

    assert refused(other, "b") is None
    assert refused(other, "a") is KeyNotFound
    other.stop()


def test_a_folder_that_others_can_write_to_is_refused(tmp_path):
    for mode in (0o777, 0o770, 0o702):
        tmp_path.chmod(mode)
        with pytest.raises(ValueError, match="writable for their user only"):
            JWKS(url="https://issuer.example/keys", algorithms=["ES256"], shared=tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path):
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(ValueError, match="writable for their user only"):
        JWKS(url="https://issuer.example/keys", algorithms=["ES256"], shared=tmp_path)


def wait_until(moment: float) -> bool:
    time.sleep(max(0.0, moment - time.monotonic()))
    return True
