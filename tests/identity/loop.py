"""Asyncio without waiting: an event loop whose clock a test puts forward."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Loop:
    """An event loop that runs while a test asks it to, and whose clock can be put forward in place of waiting."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def __call__(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(coroutine)

    def time(self) -> float:
        return self._runner.get_loop().time()

    def skip(self, seconds: float) -> None:
        """Put the clock forward, and let everything happen that has become due and needs no network."""
        self._runner.get_loop().ahead += seconds  # type: ignore[attr-defined]
        self(self._settle())

    def begin(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task that has gone as far as it can by itself."""
        task = self._runner.get_loop().create_task(coroutine)
        self(self._settle())
        return task

    def until(self, condition: Callable[[], object], seconds: float = 5) -> None:
        """Run until something real has happened, such as an answer over the network."""

        async def poll() -> None:
            for _ in range(int(seconds / 0.005)):
                if condition():
                    return
                await asyncio.sleep(0.005)
            raise AssertionError("it did not come about in time")

        self(poll())

    @staticmethod
    async def _settle() -> None:
        for _ in range(20):
            await asyncio.sleep(0)


class SkippingLoop(asyncio.SelectorEventLoop):
    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead
