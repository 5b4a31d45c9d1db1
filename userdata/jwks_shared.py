"""What the processes of one service do together about a provider's keys, so that it is asked as if by one.

The last attempt to fetch stands in a file of a folder that only these processes can write to. A process that wants
newer keys takes its turn at that file, and fetches only where no other has done so meanwhile.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from userdata.jwks_fetch import FetchFailed


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to fetch keys: what was published, or the cause why nothing came. Times are monotonic, in seconds.

    All processes of a machine read the same monotonic clock.
    """

    at: float
    ask_again_at: float  # from when a token with an unknown `kid` may cause the next attempt
    members: list[object]
    cause: str | None = None


class Attempts:
    """The attempts upon one ``source`` of all processes that share a folder; without a folder, of this one.

    Raises:
        ValueError: others could write to the folder, and so choose the keys.
    """

    def __init__(
        self, fetch: Callable[[], list[object]], cooldown_seconds: float, folder: Path | None, source: str
    ) -> None:
        self._fetch = fetch
        self._cooldown_seconds = cooldown_seconds
        self._path = folder / f"keys-{sha256(source.encode()).hexdigest()[:16]}" if folder else None
        self._last = Attempt(at=0.0, ask_again_at=0.0, members=[])
        if folder:
            status = folder.stat()
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                raise ValueError("the folder where processes share keys must be writable for their user only")

    def latest(self, *, seen_at: float, due: bool, asked: bool) -> tuple[Attempt, bool]:
        """The latest attempt, and whether it was made for this call.

        A new one is made when it is ``due`` and nobody has made any since the one of ``seen_at``; or when it is
        ``asked`` for by a token with an unknown `kid`, and the cool-down allows it.
        """
        with self._turn():
            last = self._read()
            if not ((due and last.at <= seen_at) or (asked and time.monotonic() >= last.ask_again_at)):
                return last, False
            made = self._make(asked, last)
            self._write(made)
            return made, True

    def _make(self, asked: bool, last: Attempt) -> Attempt:
        at = time.monotonic()
        try:
            members = self._fetch()
        except FetchFailed as failure:
            return Attempt(at, time.monotonic() + self._cooldown_seconds, [], str(failure))
        return Attempt(at, at + self._cooldown_seconds if asked else last.ask_again_at, members)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Keeps the other processes waiting: for as long as one fetch takes, at most."""
        with ExitStack() as stack:
            if self._path:
                with suppress(OSError):
                    turn = stack.enter_context(self._path.with_suffix(".turn").open("a"))
                    fcntl.flock(turn, fcntl.LOCK_EX)
            yield

    # A folder that is full, or was cleaned away, is no reason to be without keys: each then fetches for itself.

    def _read(self) -> Attempt:
        if self._path:
            with suppress(OSError, ValueError, TypeError):
                other = Attempt(**json.loads(self._path.with_suffix(".json").read_bytes()))
                if self._last.at < other.at <= time.monotonic():  # a later time is of another boot of the machine
                    self._last = other
        return self._last

    def _write(self, attempt: Attempt) -> None:
        self._last = attempt
        if self._path:
            with suppress(OSError):
                unfinished = self._path.with_suffix(".new")
                unfinished.write_text(json.dumps(asdict(attempt)))
                unfinished.replace(self._path.with_suffix(".json"))
