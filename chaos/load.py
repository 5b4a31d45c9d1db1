"""Client processes that set, get and delete keys, and write down what they were told."""

import multiprocessing
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx

from chaos import history
from chaos.history import REFUSED, TOLD, Kind, Operation

PROCESSES = 4
THREADS = 2  # of each
SHARED_KEYS = 8
PAUSE = 0.01  # seconds
PAUSE_AFTER_FAILURE = 0.05
CLIENT_TIMEOUT = 15.0

KINDS: tuple[Kind, ...] = ("set", "get", "delete")
ROOT = "/user-data/by-user-id/"
ALONE = 0  # the thread that writes to no key but its own


@dataclass(frozen=True)
class Plan:
    """`url`: the service; `tokens`: by user; `prefix` of the keys; `folder` for the histories."""

    url: str
    tokens: dict[str, str]
    prefix: str
    folder: Path

    def own_key(self, thread: int) -> tuple[str, str]:
        users = list(self.tokens)
        return users[thread % len(users)], f"{self.prefix}own-{thread}"

    def shared_keys(self) -> list[tuple[str, str]]:
        users = list(self.tokens)
        return [(users[number % len(users)], f"{self.prefix}shared-{number}") for number in range(SHARED_KEYS)]


class Load:
    """Runs from its making until `stop`."""

    def __init__(self, plan: Plan) -> None:
        # Spawned: a fork would copy threads and sockets of this process half-way.
        context = multiprocessing.get_context("spawn")
        self._over = context.Event()
        barrier = context.Barrier(PROCESSES + 1)
        self._paths = [plan.folder / f"{plan.prefix}{number}.jsonl" for number in range(PROCESSES)]
        self._processes = [
            context.Process(target=_process, args=(plan, number, path, barrier, self._over), daemon=True)
            for number, path in enumerate(self._paths)
        ]
        for process in self._processes:
            process.start()
        barrier.wait(60)

    def stop(self) -> list[Operation]:
        """Let all requests come to their end; returns them in the order in which they began."""
        self._over.set()
        for process in self._processes:
            process.join(CLIENT_TIMEOUT + 10)
            assert process.exitcode == 0, f"a client ended with {process.exitcode}"
        return sorted(history.read(self._paths), key=lambda operation: operation.start)


def _process(plan: Plan, number: int, path: Path, barrier: Any, over: Any) -> None:
    done: list[Operation] = []
    threads = [
        threading.Thread(target=_thread, args=(plan, number * THREADS + nth, done, over)) for nth in range(THREADS)
    ]
    barrier.wait(60)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history.write(path, done)


def _thread(plan: Plan, thread: int, done: list[Operation], over: Any) -> None:
    choose = random.Random(f"{plan.prefix}{thread}")
    own, shared = plan.own_key(thread), plan.shared_keys()
    every = [*shared, *(plan.own_key(other) for other in range(PROCESSES * THREADS))]
    # Half of them connect anew for each request, and so come to any worker.
    limits = httpx.Limits(max_keepalive_connections=thread % 2)
    with httpx.Client(base_url=plan.url, limits=limits, timeout=CLIENT_TIMEOUT) as client:
        number = 0
        while not over.is_set():
            number += 1
            kind: Kind = choose.choices(KINDS, (45, 45, 10))[0]
            if kind == "get":
                user, key = choose.choice(every)
            else:
                user, key = own if thread == ALONE or choose.random() < 0.6 else choose.choice(shared)
            value = f"{thread}.{number}" if kind == "set" else None
            answered = _ask(client, plan.tokens[user], kind, user, key, value, thread)
            done.append(answered)
            time.sleep(PAUSE if answered.acknowledged else PAUSE_AFTER_FAILURE)


def _ask(
    client: httpx.Client,
    token: str,
    kind: Kind,
    user: str,
    key: str,
    value: str | None,
    thread: int,
) -> Operation:
    body = {"value_key": key, "value_data": value} if kind == "set" else {"value_keys": [key]}
    result, detail = None, ""
    start = time.monotonic()
    try:
        response = client.post(f"{ROOT}{kind}", json=body, headers={"Authorization": f"Bearer {token}"})
        answer = response.json()
        result = answer["result"]
        if kind == "get" and result == 0:
            value = answer["values"][0]["value_data"]
        if response.status_code != 200 or (result == TOLD and "retry-after" not in response.headers):
            detail = f"undocumented: status {response.status_code}, result {result}"
        elif result == TOLD:
            detail = response.headers.get("x-result-detail", "")
    except (httpx.ConnectError, httpx.ConnectTimeout):
        detail = REFUSED
    except (httpx.TransportError, ValueError, KeyError, IndexError) as cause:
        detail = repr(cause)
    return Operation(kind, user, key, start, time.monotonic(), result, value, thread, detail)


def rate(operations: Sequence[Operation], began: float, ended: float) -> float:
    """Acknowledged requests a second between two times."""
    return sum(o.acknowledged and began <= o.end < ended for o in operations) / (ended - began)
