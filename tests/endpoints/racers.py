"""Callers that keep their connections, to races between real worker processes."""

import json
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import cache
from http.client import HTTPConnection
from typing import Any, TypeVar

from django.db import connection

from tests.endpoints.family import a

T = TypeVar("T")

FULL = "value_key would exceed the 20 keys that an app may have."
DENIED = "value_key belongs to another app."


@cache
def bearer(user: str, app: str) -> str:
    return a(sub=user, azp=app)


class Caller:
    """One app of one user, over a connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=20)
        self._connection.connect()
        self.close = self._connection.close

    def call(self, path: str, body: dict[str, Any], user: str = "u1", app: str = "a1") -> tuple[dict[str, Any], str]:
        """The answer and its reason."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer(user, app)}"}
        self._connection.request("POST", path, json.dumps(body), headers)
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200
        return answer, response.headers.get("X-Result-Detail", "")

    def set(
        self, key: str, value: str, user: str = "u1", app: str = "a1", below: str = "/user-data/", **fields: str
    ) -> tuple[int, str]:
        """The result and its reason."""
        answer, reason = self.call(f"{below}set", {"value_key": key, "value_data": value, **fields}, user, app)
        return answer["result"], reason

    def delete(self, *keys: str) -> dict[str, bool]:
        """Which of the keys were there."""
        answer, _ = self.call("/user-data/by-user-id/delete", {"value_keys": keys})
        deleted = {each["value_key"]: each["is_deleted"] for each in answer["keys_delete_results"]}
        assert answer["result"] == (0 if any(deleted.values()) else 1)
        return deleted

    def get(self, key: str) -> str | None:
        answer, _ = self.call("/user-data/get", {"value_keys": [key]})
        assert answer["result"] == 0
        return answer["values"][0]["value_data"] if answer["values"] else None


def to_set(*args: str, **kwargs: str) -> Callable[[Caller], tuple[int, str]]:
    return lambda caller: caller.set(*args, **kwargs)


def race(port: int, runners: Iterable[Callable[[Caller], T]]) -> list[T]:
    """Let each run with a connection of its own, all from the same moment; what they return, in order."""
    runners = list(runners)
    start = threading.Barrier(len(runners), timeout=30)

    def run(runner: Callable[[Caller], T], caller: Caller) -> T:
        start.wait()
        return runner(caller)

    with ExitStack() as stack:
        callers = [stack.enter_context(closing(Caller(port))) for _ in runners]
        with ThreadPoolExecutor(len(runners)) as executor:
            return list(executor.map(run, runners, callers))


def failed_transactions() -> int:
    """Of the database. A session tells at its end, so the service's are ended."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
            " WHERE application_name = 'userdata' AND datname = current_database()"
        )
        cursor.execute("SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()")
        ((number,),) = cursor.fetchall()
    return int(number)
