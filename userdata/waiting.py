"""Waiting, in code that is not async, without holding up the others.

A worker computes its requests on one event loop, each in a greenlet of its own. A request that has to wait hands
what it waits for to the loop and goes on when that is done; meanwhile the loop computes other requests. So nothing
but the waiting itself is async: views, authentication and Django read as they always do.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")

MAX_THREADS = 64
MAX_IDLE = 64

_threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="blocking")
_serving: asyncio.AbstractEventLoop | None = None
_beginning = threading.Lock()


class _Calls(greenlet):
    """One call after another, each of which may `wait` on the event loop. Making a greenlet costs more than a call."""

    def run(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        while True:
            failure = None
            try:
                function(*args)
            except Exception as cause:  # noqa: BLE001 - it belongs to whoever called
                failure = cause
            function = args = None  # type: ignore[assignment]
            function, args = self.parent.switch(failure)  # type: ignore[union-attr]


_idle: list[_Calls] = []


def run(function: Callable[..., object], *args: Any) -> None:
    """Call a function on the event loop; where it calls `wait`, the loop goes on with other work.

    To be called by the event loop, not from inside another such call.
    """
    calls = _idle.pop() if _idle else _Calls()
    calls.gr_context = copy_context()
    _proceed(calls, calls.switch(function, args))


def _proceed(calls: _Calls, outcome: Awaitable[Any] | Exception | None) -> None:
    """`outcome`: what is waited for; where the call is over, how it failed, or None."""
    if outcome is None or isinstance(outcome, Exception):
        if len(_idle) < MAX_IDLE:
            _idle.append(calls)
        if outcome is not None:
            raise outcome
    else:
        asyncio.ensure_future(outcome).add_done_callback(partial(_resume, calls))


def _resume(calls: _Calls, future: asyncio.Future[Any]) -> None:
    try:
        result = future.result()
    except BaseException as failure:  # noqa: BLE001 - it belongs to whoever waited
        outcome = calls.throw(failure)
    else:
        outcome = calls.switch(result)
    _proceed(calls, outcome)


async def run_in_thread(function: Callable[..., T], *args: Any) -> T:
    """Call a function that blocks."""
    return await asyncio.get_running_loop().run_in_executor(_threads, function, *args)


def wait(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Call a function on the event loop and return what comes of what it returns.

    From inside `run`, or from any other thread than the event loop's.
    """
    call = getcurrent()
    if isinstance(call, _Calls):
        return call.parent.switch(function(*args))  # type: ignore[union-attr, no-any-return]

    async def awaited() -> T:
        return await function(*args)

    return asyncio.run_coroutine_threadsafe(awaited(), _serving or _background()).result()


def blocking(function: Callable[..., T], *args: Any) -> T:
    """Call a function that blocks: from inside `run`, in a thread."""
    if isinstance(getcurrent(), _Calls):
        return wait(run_in_thread, function, *args)  # type: ignore[no-any-return]
    return function(*args)


def serve_on(loop: asyncio.AbstractEventLoop) -> None:
    """Make an event loop the one on which threads wait."""
    global _serving
    _serving = loop


def _background() -> asyncio.AbstractEventLoop:
    """An event loop of its own, where none serves: in a shell, a command or a test."""
    with _beginning:
        if _serving is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="event-loop", daemon=True).start()
            serve_on(loop)
        assert _serving is not None
        return _serving
