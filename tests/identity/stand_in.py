"""A provider without a network, and what the service makes of it."""

import asyncio
from typing import Any

from prometheus_client import REGISTRY

from tests.identity.keymaker import private_key
from userdata.identity.discovery import KeysEndpoint
from userdata.identity.key_set import read_key_set


class Provider(KeysEndpoint):
    """Stands in for a `KeysEndpoint`: answers what a test has told it to, at once or when it is let go."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._let_go = asyncio.Event()
        self.fetches: list[float] = []
        self.now = self.most_at_once = 0
        self.answer: Any = {}
        self.go_on()

    def __str__(self) -> str:
        return "the provider"

    def publish(self, *jwks: dict[str, Any]) -> None:
        self.answer = read_key_set(jwks, ["ES256", "RS256"])

    def hang(self) -> None:
        self._let_go.clear()

    def go_on(self) -> None:
        self._let_go.set()

    async def fetch(self) -> Any:
        self.fetches.append(self._loop.time())
        answer = self.answer
        self.now += 1
        self.most_at_once = max(self.most_at_once, self.now)
        try:
            await self._let_go.wait()
        finally:
            self.now -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer


def public_key(kid: str) -> Any:
    return private_key(kid).public_key()


def count(name: str, **labels: str) -> float:
    """What a counter of the service stands at."""
    return REGISTRY.get_sample_value(f"userdata_{name}_total", labels) or 0.0
