"""The keys of an identity provider, kept at hand so that no request waits on the network while one is usable.

One background thread fetches, one refresh at a time, and swaps in a whole new set when it got a good one. A request
reads the set that is there, without a lock. Only a token that names a key not in the set, or the lack of any set,
makes a request ask for a refresh and wait for it, both within bounds.
"""

import logging
import random
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from userdata.jwks_fetch import Provider
from userdata.jwks_read import KeySet, read_keys
from userdata.jwks_shared import Attempt, Attempts
from userdata.keys import ASYMMETRIC, KeyNotFound, KeyStatus, KeysUnavailable, PublicKey
from userdata.metrics import JWKS_REFRESHES, JWKS_UNKNOWN_KIDS
from userdata.waiting import blocking

log = logging.getLogger(__name__)

LONGEST_BACK_OFF_SECONDS = 30.0
UNKNOWN_KIDS_REMEMBERED = 1000
UNKNOWN_KID_SECONDS = 60.0  # not for ever: some providers publish a key only after it has begun to sign
LOOK_AROUND_SECONDS = 1.0
CROWD_WAIT_SECONDS = 0.25  # time enough for a provider in good health


class JWKS:
    """A `KeySource` fed by a JWKS URL, or by an issuer whose discovery document names one.

    - Keys are fetched every ``refresh_seconds``, after a failure sooner, with exponential back-off and jitter.
    - A set serves until it is ``max_age_seconds`` old, whatever becomes of the provider.
    - A fetch takes at most ``timeout_seconds`` in all, and ``max_body_bytes``.
    - An unknown `kid` causes at most one fetch in ``cooldown_seconds``, and waits at most ``wait_seconds`` for it.
      While a fetch drags on, no more than ``max_waiting`` requests wait so long: keep it below `waiting.MAX_THREADS`.
    - ``plain_http`` allows http to hosts other than loopback: for a network that nobody else can write to.
    - ``shared`` is a folder that only the service's processes can write to: what is said of fetches is then true of all
      of them together. Without it each process fetches for itself.

    Raises:
        ValueError: no keys may be fetched from the URL or issuer, or an algorithm is not an asymmetric one.
    """

    def __init__(
        self,
        *,
        algorithms: Collection[str],
        url: str | None = None,
        issuer: str | None = None,
        refresh_seconds: float = 300,
        max_age_seconds: float = 86_400,
        timeout_seconds: float = 3,
        cooldown_seconds: float = 5,
        wait_seconds: float = 2,
        max_waiting: int = 8,
        max_body_bytes: int = 512 * 1024,
        plain_http: bool = False,
        shared: Path | None = None,
    ) -> None:
        if not algorithms or not ASYMMETRIC.issuperset(algorithms):
            raise ValueError("keys from a URL verify asymmetric algorithms only")
        self._provider = Provider(
            url=url,
            issuer=issuer,
            algorithms=algorithms,
            timeout_seconds=timeout_seconds,
            max_body_bytes=max_body_bytes,
            plain_http=plain_http,
        )
        self._attempts = Attempts(self._provider.fetch, cooldown_seconds, shared, source=f"{url} {issuer}")
        self._algorithms = tuple(algorithms)
        self._refresh_seconds = refresh_seconds
        self._max_age_seconds = max_age_seconds
        self._cooldown_seconds = cooldown_seconds
        self._wait_seconds = wait_seconds
        self._max_waiting = max_waiting

        self._held: _Held | None = None
        self._cause: str | None = None  # of the last refresh's failure; None after a success
        self._logged: set[str] = set()

        # Everything below belongs to whoever holds this condition, which is never held across a fetch.
        self._turn = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._begun = self._ended = self._settled = 0  # numbers of refreshes; settled: the provider itself has told
        self._began_at = self._seen_at = self._due_at = self._ask_again_at = 0.0
        self._asked = False
        self._failures = 0  # in a row
        self._waiting = 0
        self._unknown: dict[int, float] = {}  # hash of kid and alg → until when it needs no asking

    @property
    def generation(self) -> int:
        """Counts the changes of the key set; -1 while there is none that may be used."""
        held = self._usable()
        return held.generation if held else -1

    def find(self, kid: str | None, alg: str) -> PublicKey:
        """The key that verifies ``alg`` under this ``kid``; without one, the only key there is for ``alg``.

        Raises:
            KeyNotFound: the provider publishes no such key.
            KeysUnavailable: there is no usable set, or whether this key is in it can't be told now.
        """
        held = self._usable()
        if held and (key := held.published.find(kid, alg)):
            return key
        try:
            return blocking(self._find_with_refresh, kid, alg)
        except KeyNotFound:
            JWKS_UNKNOWN_KIDS.inc()
            raise

    def status(self) -> KeyStatus:
        held, cause = self._usable(), self._cause
        if held:
            note = f"; not refreshed: {cause}" if cause else ""
            detail = f"{held.published.size} keys from {self._provider}{note}"
            return KeyStatus(usable=True, age_seconds=held.age(), detail=detail)
        age = self._held.age() if self._held else None
        return KeyStatus(usable=False, age_seconds=age, detail=f"no usable keys: {cause or 'not fetched yet'}")

    def start(self) -> None:
        """Begin to fetch, in this process; once begun, nothing more."""
        with self._turn:
            self._start()

    def stop(self) -> None:
        """End the background work; a fetch that is under way is left behind."""
        with self._turn:
            self._stopping = True
            self._turn.notify_all()

    def _usable(self) -> "_Held | None":
        held = self._held
        return held if held and held.age() < self._max_age_seconds else None

    # What a request does whose key is not at hand

    def _find_with_refresh(self, kid: str | None, alg: str) -> PublicKey:
        if (held := self._usable()) and kid in held.published.kids:
            raise KeyNotFound("the key of that name is for another algorithm")
        name = hash((kid, alg))
        with self._turn:
            self._start()
            if self._usable() and self._unknown.get(name, 0.0) > time.monotonic():
                raise KeyNotFound("no key of that name, as asked a moment ago")
            ticket = self._ask()
            if ticket:
                self._wait(ticket, kid, alg)
            held = self._usable()
            key = held.published.find(kid, alg) if held else None
            telling = not self._failures and self._ended >= ticket
            if held and not key and 0 < ticket <= self._settled:
                self._remember(name)
        if key:
            return key
        # A provider that can't be asked may sign with a new key already, and an app throws away a token that is called
        # invalid. So 'not found' is said only of what the provider's last word rules out, and 'unavailable' otherwise.
        if not held or not telling:
            raise KeysUnavailable(self.status().detail)
        raise KeyNotFound("no key of that name")

    def _ask(self) -> int:
        """The number of the refresh that will tell, one begun for this if need be; 0 where none is due."""
        now = time.monotonic()
        in_flight = self._begun if self._ended < self._begun else 0
        if in_flight and not self._usable():
            return in_flight
        if not in_flight and now >= self._due_at:
            return self._begun + 1
        if not self._asked and now >= self._ask_again_at:
            self._asked = True
            self._ask_again_at = now + self._cooldown_seconds
            self._turn.notify_all()
        return self._begun + 1 if self._asked else in_flight

    def _wait(self, ticket: int, kid: str | None, alg: str) -> None:
        """Wait for a refresh to end or to bring the key. A crowd does not wait on a provider that is slow."""
        seconds = self._wait_seconds
        if self._waiting >= self._max_waiting:
            began_at = self._began_at if self._ended < self._begun else time.monotonic()
            seconds = min(seconds, began_at + CROWD_WAIT_SECONDS - time.monotonic())
        self._waiting += 1
        try:
            self._turn.wait_for(
                lambda: self._ended >= ticket or ((held := self._usable()) and held.published.find(kid, alg)),
                max(0.0, seconds),
            )
        finally:
            self._waiting -= 1

    def _remember(self, name: int) -> None:
        self._unknown.pop(name, None)
        if len(self._unknown) >= UNKNOWN_KIDS_REMEMBERED:
            del self._unknown[next(iter(self._unknown))]  # the oldest
        self._unknown[name] = time.monotonic() + UNKNOWN_KID_SECONDS

    # What the background thread does

    def _start(self) -> None:
        if self._thread and self._thread.is_alive():  # a thread does not outlive a fork
            return
        self._thread = threading.Thread(target=self._refresh_for_ever, name="jwks-refresh", daemon=True)
        self._thread.start()

    def _refresh_for_ever(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._asked or self._stopping, self._idle_seconds())
                if self._stopping:
                    return
                asked, self._asked = self._asked, False
                self._begun += 1
                self._began_at = time.monotonic()
                due = self._began_at >= self._due_at
            attempt, own, published = self._attempt(due=due, asked=asked)
            news = attempt.at > self._seen_at
            if news:
                self._take(attempt, own, published)
            with self._turn:
                self._ended = self._begun
                self._ask_again_at = attempt.ask_again_at
                if news:
                    self._seen_at = attempt.at
                    self._failures = self._failures + 1 if attempt.cause else 0
                    self._due_at = self._next(attempt)
                if own and not attempt.cause:
                    self._settled = self._begun
                self._turn.notify_all()

    def _next(self, attempt: Attempt) -> float:
        """When the next attempt is due; with jitter, so that the services of a provider do not fall into step."""
        if not attempt.cause:
            return attempt.at + self._refresh_seconds * random.uniform(0.8, 1.0)
        longest = min(LONGEST_BACK_OFF_SECONDS, self._refresh_seconds)
        back_off = min(longest, self._cooldown_seconds * 2.0 ** min(self._failures, 10))
        return time.monotonic() + back_off * random.uniform(0.5, 1.0)

    def _idle_seconds(self) -> float:
        """How long to sleep if nobody asks. After a failure not for long: another process may have had more luck."""
        longest = LOOK_AROUND_SECONDS if self._failures else self._refresh_seconds
        return min(longest, max(0.0, self._due_at - time.monotonic()))

    def _attempt(self, *, due: bool, asked: bool) -> tuple[Attempt, bool, KeySet]:
        """The latest attempt, whether it was made here and now, and the keys that it brought."""
        try:
            attempt, own = self._attempts.latest(seen_at=self._seen_at, due=due, asked=asked)
            return attempt, own, read_keys(attempt.members, self._algorithms)
        except Exception as error:  # a thread that ended here would leave the keys to age unnoticed
            cause, now = f"{type(error).__name__} {error}", time.monotonic()
            if cause not in self._logged:
                log.exception("an unforeseen error in refreshing keys")
            return Attempt(now, now + self._cooldown_seconds, [], cause), True, read_keys([], self._algorithms)

    def _take(self, attempt: Attempt, own: bool, published: KeySet) -> None:
        """Adopt what an attempt brought. The process that made it counts it, and logs what is new about it."""
        if own:
            JWKS_REFRESHES.labels(outcome="failure" if attempt.cause else "success").inc()
        self._cause = attempt.cause
        if attempt.cause:
            if own and attempt.cause not in self._logged:
                log.warning("keys not refreshed: %s", attempt.cause)
            self._logged.add(attempt.cause)
            return
        if own and self._logged:
            log.info("keys are refreshed again")
        self._logged.clear()
        before = self._held
        changed = not before or published.keys != before.published.keys
        if own and changed:
            names = ", ".join(sorted(published.kids)[:10])
            log.info("%d keys from %s verify tokens: %s", published.size, self._provider, names)
        self._held = _Held(published, (before.generation if before else 0) + changed, attempt.at)


@dataclass(frozen=True, slots=True)
class _Held:
    """One good answer of the provider, as it is used until the next."""

    published: KeySet
    generation: int
    fetched_at: float  # monotonic

    def age(self) -> float:
        return time.monotonic() - self.fetched_at
