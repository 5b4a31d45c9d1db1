"""A provider's keys, kept at hand so that no request waits on the network while the key that it needs is there."""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from userdata.identity.discovery import FetchFailed, KeysEndpoint
from userdata.identity.key_set import KeySet
from userdata.identity.keys import KeyStatus, KeysUnavailable, PublicKey
from userdata.metrics import JWKS_REFRESHES, JWKS_UNKNOWN_KIDS

log = logging.getLogger(__name__)

COOLDOWN_SECONDS = 5.0
WAIT_SECONDS = 2.0
LONGEST_BACK_OFF_SECONDS = 30.0
UNKNOWN_KIDS_REMEMBERED = 1000
UNKNOWN_KID_SECONDS = 60.0  # not for ever: some providers publish a key only after it has begun to sign


class ProviderKeys:
    """The keys that were last fetched. They are refreshed in the background, by one task at a time.

    - They are refreshed every `refresh_seconds`; after a failure sooner, with exponential back-off. Both have jitter.
    - They serve until they are `max_age_seconds` old, whatever becomes of the provider.
    - An unknown `kid` causes at most one fetch in `COOLDOWN_SECONDS`, and waits at most `WAIT_SECONDS` for it.
    """

    def __init__(
        self,
        endpoint: KeysEndpoint,
        refresh_seconds: float,
        max_age_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint, self._clock = endpoint, clock
        self._refresh_seconds, self._max_age_seconds = refresh_seconds, max_age_seconds
        self._held: KeySet | None = None
        self._changes = 0
        self._fetched_at = 0.0
        self._failures = 0  # since the last success
        self._cause: str | None = None  # of the last of them
        self._task: asyncio.Task[None] | None = None  # the refresh that began last
        self._ended = asyncio.Event()  # it has ended
        self._ended.set()
        self._answered_at = -1.0  # when the last refresh that has ended began
        self._timer: asyncio.TimerHandle | None = None  # of the next one
        self._ask_again_at = 0.0
        self._unknown: dict[int, float] = {}  # hash of kid and alg → until when it needs no asking

    @property
    def generation(self) -> int:
        """Counts the changes of the keys; -1 while there are none that may be used."""
        return self._changes if self._usable() else -1

    def status(self) -> KeyStatus:
        age = self._clock() - self._fetched_at if self._held else None
        if keys := self._usable():
            note = f"; not refreshed: {self._cause}" if self._cause else ""
            return KeyStatus(True, age, f"{len({*map(id, keys.values())})} keys from {self._endpoint}{note}")
        return KeyStatus(False, age, f"no usable keys: {self._cause or 'not fetched yet'}")

    def start(self) -> None:
        """Begin to fetch, on the running loop; once begun, nothing more."""
        if self._task is None:
            self._refresh()

    async def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def find(self, kid: str | None, alg: str) -> PublicKey | None:
        """The key that verifies `alg` under this `kid` or, without one, the only key for `alg`; None if there is none.

        Raises `KeysUnavailable` where there are no usable keys, or whether this one exists can't be told now.
        """
        key = self._at_hand(kid, alg) or await self._find_with_refresh(kid, alg)
        if key is None:
            JWKS_UNKNOWN_KIDS.inc()
        return key

    def _usable(self) -> KeySet | None:
        return self._held if self._clock() - self._fetched_at < self._max_age_seconds else None

    def _at_hand(self, kid: str | None, alg: str) -> PublicKey | None:
        return (self._usable() or {}).get((kid, alg))

    async def _find_with_refresh(self, kid: str | None, alg: str) -> PublicKey | None:
        now, name = self._clock(), hash((kid, alg))
        if keys := self._usable():
            for_another_alg = kid is not None and any(kid == known for known, _ in keys)
            if for_another_alg or self._unknown.get(name, 0.0) > now:
                return None
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                # A refresh that was under way already may have begun before the key was published: then one more.
                while self._answered_at < now and self._ask():
                    await self._ended.wait()
                    if key := self._at_hand(kid, alg):
                        return key
        except TimeoutError as error:
            raise KeysUnavailable from error
        # A provider that can't be asked may sign with a new key already, and an app throws away a token that is called
        # invalid. So 'unknown' is said only of what the provider's last word rules out, and 'unavailable' otherwise.
        if self._cause or not self._usable():
            raise KeysUnavailable
        if self._answered_at >= now:
            if len(self._unknown) >= UNKNOWN_KIDS_REMEMBERED:
                self._unknown.clear()
            self._unknown[name] = now + UNKNOWN_KID_SECONDS
        return None

    def _ask(self) -> bool:
        """Whether a refresh is under way; one begins now if the cool-down allows it."""
        if self._ended.is_set():
            if self._clock() < self._ask_again_at:
                return False
            self._ask_again_at = self._clock() + COOLDOWN_SECONDS
            self._refresh()
        return True

    def _refresh(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._ended = asyncio.Event()
        self._task = asyncio.create_task(self._fetch(), name="provider-keys")

    async def _fetch(self) -> None:
        began_at = self._clock()
        try:
            keys = await self._endpoint.fetch()
        except Exception as error:  # noqa: BLE001 - the refreshing has to go on, or the keys would age unnoticed
            pause = self._fail(error)
        else:
            pause = self._adopt(keys, began_at)
        self._answered_at = began_at
        self._timer = asyncio.get_running_loop().call_later(pause, self._refresh)
        self._ended.set()

    def _adopt(self, keys: KeySet, began_at: float) -> float:
        """Use these keys from now on; the seconds until they are to be refreshed."""
        JWKS_REFRESHES.labels(outcome="success").inc()
        if self._cause:
            log.info("keys are refreshed again")
        if keys != self._held:
            self._changes += 1
            names = sorted({kid or "without a name" for kid, _ in keys})
            log.info("keys from %s verify tokens: %s", self._endpoint, ", ".join(names[:10]))
        self._held, self._fetched_at, self._cause, self._failures = keys, began_at, None, 0
        return self._refresh_seconds * random.uniform(0.8, 1.0)

    def _fail(self, error: Exception) -> float:
        """Keep the keys that are there; the seconds until the next attempt."""
        JWKS_REFRESHES.labels(outcome="failure").inc()
        foreseen = isinstance(error, FetchFailed)
        cause = str(error) if foreseen else f"{type(error).__name__} {error}"
        if cause != self._cause:
            log.warning("keys not refreshed: %s", cause, exc_info=not foreseen)
        self._cause = cause
        self._failures += 1
        self._ask_again_at = self._clock() + COOLDOWN_SECONDS
        back_off = COOLDOWN_SECONDS * 2.0 ** min(self._failures, 10)
        return min(back_off, LONGEST_BACK_OFF_SECONDS, self._refresh_seconds) * random.uniform(0.5, 1.0)
