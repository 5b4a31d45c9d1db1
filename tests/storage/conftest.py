"""Stores over the tests' own database, on an event loop of each test's own."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest
import uvloop

from userdata.service import connection_parameters
from userdata.storage import Owner, Store
from userdata.storage.pool import Pool

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, Any]], Any]

USER = Owner("user", "user")
APP = "app"


@pytest.fixture
def run() -> Iterator[Run]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner.run


@pytest.fixture
def open_at(run: Run) -> Iterator[Callable[[Mapping[str, Any]], Store]]:
    """Make stores for psycopg's parameters, each with connections of its own as each worker has."""
    with ExitStack() as stack:

        def open_at(parameters: Mapping[str, Any]) -> Store:
            store = Store(dict(parameters))
            run(store.open())
            stack.callback(lambda: run(store.close()))
            return store

        yield open_at


@pytest.fixture
def open_store(open_at: Callable[..., Store], stored: object) -> Callable[..., Store]:
    """Make stores over the tests' own database; further parameters of psycopg."""
    return lambda **parameters: open_at(connection_parameters() | parameters)


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    """Over an empty table."""
    return open_store()


@pytest.fixture
def open_pool(run: Run, stored: object) -> Iterator[Callable[..., Pool]]:
    """Make pools; further parameters of psycopg."""
    with ExitStack() as stack:

        def open_pool(**parameters: Any) -> Pool:
            pool = Pool(connection_parameters() | parameters)
            run(pool.open())
            stack.callback(lambda: run(pool.close()))
            return pool

        yield open_pool


@pytest.fixture
def pool(open_pool: Callable[..., Pool]) -> Pool:
    return open_pool()


def put(
    store: Store, key: str = "k", value: str = "v", *, app: str = APP, owner: Owner = USER, scope: int = 0
) -> Coroutine[Any, Any, None]:
    return store.put(owner, app, key, value, scope)


async def told(*calls: Coroutine[Any, Any, Any]) -> list[Any]:
    """What each of several concurrent callers gets: a result, or the kind of its exception."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    return [type(result) if isinstance(result, BaseException) else result for result in results]
