import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import time_machine

from tests.identity.door import NOW
from tests.identity.keymaker import jwk
from tests.identity.keyserver import KeyServer
from tests.identity.loop import Loop, SkippingLoop
from tests.identity.stand_in import Provider
from userdata.identity import KeysUnavailable
from userdata.identity.provider import ProviderKeys


@pytest.fixture
def server() -> Iterator[KeyServer]:
    front = KeyServer()
    yield front
    front.close()


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """The time of day stands still at NOW, unless a test moves it."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def loop() -> Iterator[Loop]:
    with asyncio.Runner(loop_factory=SkippingLoop) as runner, suppress(asyncio.CancelledError):
        yield Loop(runner)


@pytest.fixture
def provider(loop: Loop) -> Provider:
    """Publishes one key, `a`."""
    provider = Provider(loop)
    provider.publish(jwk("a"))
    return provider


@pytest.fixture
def keys(provider: Provider, loop: Loop) -> Iterator[ProviderKeys]:
    """Refreshed every 300 s, used for up to a day; not begun yet."""
    keys = ProviderKeys(provider, 300, 86_400, clock=loop.time)
    yield keys
    loop(keys.close())


@pytest.fixture
def find(keys: ProviderKeys, loop: Loop) -> Callable[..., Any]:
    """The outcome of looking for keys, all at the same time: a key, None or 'unavailable'."""

    async def one(kid: str | None, alg: str) -> Any:
        try:
            return await keys.find(kid, alg)
        except KeysUnavailable:
            return "unavailable"

    async def all_of(kids: tuple[str | None, ...], alg: str) -> Any:
        keys.start()
        return await asyncio.gather(*(one(kid, alg) for kid in kids))

    def find(*kids: str | None, alg: str = "ES256") -> Any:
        outcomes = loop(all_of(kids, alg))
        return outcomes[0] if len(kids) == 1 else outcomes

    return find
