"""An event loop whose clock goes straight to the next thing that is due, so that no test waits for it."""

import asyncio
from selectors import DefaultSelector, SelectorKey


class _Selector(DefaultSelector):
    loop: "FakeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is due any more"
            self.loop.now += timeout
        return ready


class FakeLoop(asyncio.SelectorEventLoop):
    """`now` begins at 0."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now
