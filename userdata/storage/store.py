"""What the rest of the service asks of the database."""

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NamedTuple

import psycopg
import structlog
from django.conf import settings
from psycopg.errors import DataError, DeadlockDetected, LockNotAvailable, ProgramLimitExceeded, UniqueViolation
from psycopg.rows import TupleRow

from userdata import metrics
from userdata.storage import deadlines, statements
from userdata.storage.batches import Batcher, GroupCommit
from userdata.storage.exceptions import (
    NotStorable,
    OwnedByAnotherApp,
    QuotaReached,
    StoreError,
    StoreUnavailable,
    TooMuchData,
)
from userdata.storage.pool import Pool

log = structlog.get_logger(__name__)

MAX_BATCH_BYTES = 4 * 2**20
MAX_BATCH_KEYS = 128

# What another statement is in the way of, and not what was asked. A key may be doubled, in spite of ON CONFLICT, while
# a migration builds another unique index.
CONTENTION = (LockNotAvailable, DeadlockDetected, UniqueViolation)


class Owner(NamedTuple):
    """Whose data it is: an `OwnerKind` and the id within it."""

    kind: str
    id: str


class Write(NamedTuple):
    """One value to be stored, by an app, under a key of an owner."""

    owner: Owner
    key: str
    value: str
    app: str
    access_scope: int
    ends: float = inf
    """When the caller is told at the latest, by the monotonic clock."""

    @property
    def place(self) -> Hashable:
        return self.owner, self.key

    @property
    def writer(self) -> str:
        return self.app

    @property
    def weight(self) -> int:
        return len(self.value)


class Name(NamedTuple):
    """A key to be read: an app's own and, if it also names one that another app shares, that app and key."""

    key: str
    shared_app: str = ""
    shared_key: str = ""


class Read(NamedTuple):
    """Keys that an app asks for."""

    owner: Owner
    app: str
    names: Sequence[Name]

    @property
    def weight(self) -> int:
        return len(self.names)


@dataclass(slots=True)
class _Row:
    """What is written to one place: the last of `writes`, which all share its outcome."""

    write: Write
    writes: int = 1


class Store:
    """The table of stored values, over connections of its own; made and closed on one event loop.

    Every method raises `StoreUnavailable` where the database can't be used now, within `deadlines.ANSWER`.
    """

    def __init__(self, parameters: dict[str, Any]) -> None:
        """`parameters`: psycopg's for connecting."""
        self._pool = Pool(parameters)
        self._writes: Batcher[Write, None] = GroupCommit(self._commit, at_once=2, max_weight=MAX_BATCH_BYTES)
        self._slow_writes: Batcher[Write, None] = GroupCommit(self._commit_apart, at_once=2, max_weight=MAX_BATCH_BYTES)
        self._reads: Batcher[Read, dict[int, str]] = Batcher(self._get, at_once=2, max_weight=MAX_BATCH_KEYS)
        self._locked: dict[Hashable, float] = {}  # place → until when it is written apart, by the monotonic clock
        self._is_out = False

    async def open(self) -> None:
        """Begin to connect; statements may be asked for at once."""
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def put(self, owner: Owner, app: str, key: str, value: str, access_scope: int) -> None:
        """Store a value; return when it is committed to disk.

        Raises `OwnedByAnotherApp`, `QuotaReached` where the app has no room for another key, and `NotStorable`.
        """
        write = Write(owner, key, value, app, access_scope, time.monotonic() + deadlines.REQUEST)
        writes = self._slow_writes if self._locked and self._is_locked(write.place) else self._writes
        await self._submitted(writes, write)

    async def get(self, owner: Owner, app: str, names: Sequence[Name]) -> dict[int, str]:
        """The values of the keys that are there, by their place in `names`.

        Raises `TooMuchData` where several have more than `MAX_VALUES_BYTES` together.
        """
        values: dict[int, str] = await self._submitted(self._reads, Read(owner, app, names))
        return values

    async def list(self, owner: Owner, app: str) -> Sequence[tuple[str, int]]:
        """An app's own keys with their access scopes, in key order."""
        rows = await self._run(statements.LIST, _owner(owner) | {"app": app})
        return [(key, access_scope) for key, access_scope in rows]

    async def list_shared(self, owner: Owner, app: str, after: str, page_size: int) -> Sequence[tuple[str, str]]:
        """The public keys of the owner's other apps, as (app, key), in key order, from behind `after` on."""
        parameters = _owner(owner) | {"app": app, "after": after, "page_size": page_size}
        return [(other, key) for other, key in await self._run(statements.LIST_SHARED, parameters)]

    async def delete(self, owner: Owner, app: str, keys: Sequence[str]) -> set[str]:
        """Delete an app's own keys; those that were there, when they are committed to be gone."""
        parameters = _owner(owner) | {"app": app, "keys": list(keys)}
        ends = time.monotonic() + deadlines.REQUEST
        for last in (False, True):
            try:
                deleted = {key for (key,) in await self._execute(statements.DELETE, parameters, ends)}
            except psycopg.Error as cause:
                if last or not isinstance(cause, DeadlockDetected):
                    raise self._unavailable(cause) from None
            else:
                if None in deleted:
                    raise await self._came_too_late()
                if deleted:
                    metrics.BATCHES.inc()
                return deleted
        raise AssertionError

    async def check(self) -> None:
        """Return if the table can be read now; raises `psycopg.Error`, whose words are for operators, if not."""
        await self._execute(statements.CHECK, {})

    async def _submitted(self, batcher: Batcher[Any, Any], item: Any) -> Any:
        try:
            return await batcher.submit(item)
        except TimeoutError as cause:
            raise StoreUnavailable("The database takes too long.") from cause

    # Writes

    async def _commit(self, writes: Sequence[Write]) -> Sequence[Any]:
        """Store a batch; where one row can't be stored with the others, each by itself."""
        rows = _merged(writes)
        try:
            outcomes = await self._put(list(rows.values()))
        except CONTENTION:
            return [self._slow_writes.submit(write) for write in writes]
        except psycopg.Error as cause:
            if _is_lost(cause) or len(rows) == 1:
                return [self._failure(cause)] * len(writes)
            return await self._commit_apart(writes)
        return [outcomes[write.place] for write in writes]

    async def _commit_apart(self, writes: Sequence[Write]) -> Sequence[Any]:
        """Store rows one by one; one that meets another's lock joins the next batch, as long as there is time."""
        outcomes: dict[Hashable, StoreError | None] = {}
        for place, row in _merged(writes).items():
            if time.monotonic() > row.write.ends - deadlines.STATEMENT:
                outcomes[place] = StoreUnavailable("The key is locked.")
                continue
            try:
                outcomes[place] = (await self._put([row]))[place]
            except CONTENTION:
                self._locked[place] = time.monotonic() + deadlines.LOCKED
            except psycopg.Error as cause:
                outcomes[place] = self._failure(cause)
        return [
            outcomes[write.place] if write.place in outcomes else self._slow_writes.submit(write) for write in writes
        ]

    async def _put(self, rows: Sequence[_Row]) -> dict[Hashable, StoreError | None]:
        """What becomes of each place; raises `psycopg.Error`, and then nothing was stored."""
        if len(rows) == 1 and await self._update(rows[0]):
            return {rows[0].write.place: None}
        writes = [row.write for row in rows]
        parameters = {
            "owner_kinds": [write.owner.kind for write in writes],
            "owner_ids": [write.owner.id for write in writes],
            "keys": [write.key for write in writes],
            "values": [write.value for write in writes],
            "apps": [write.app for write in writes],
            "access_scopes": [write.access_scope for write in writes],
            "writes": [row.writes for row in rows],
            "max_keys": settings.MAX_KEYS_PER_APP,
        }
        ends = min(write.ends for write in writes)
        refused = {(Owner(kind, id_), key) for kind, id_, key in await self._execute(statements.PUT, parameters, ends)}
        if len(refused) < len(rows):
            metrics.BATCHES.inc()
        return {write.place: await self._why_not_put(write) if write.place in refused else None for write in writes}

    async def _update(self, row: _Row) -> bool:
        """Whether the key was there, and the app's own; then it is overwritten."""
        write = row.write
        parameters = _owner(write.owner) | {
            "key": write.key,
            "app": write.app,
            "value": write.value,
            "access_scope": write.access_scope,
            "writes": row.writes,
        }
        updated = bool(await self._execute(statements.UPDATE, parameters, write.ends))
        if updated:
            metrics.BATCHES.inc()
        return updated

    async def _why_not_put(self, write: Write) -> StoreError:
        parameters = _owner(write.owner) | {"key": write.key, "app": write.app}
        try:
            ((holder, held),) = await self._execute(statements.WHY_NOT_PUT, parameters)
        except psycopg.Error as cause:
            return self._unavailable(cause)
        if holder is not None and holder != write.app:
            return OwnedByAnotherApp("value_key belongs to another app.")
        if holder is None and held >= settings.MAX_KEYS_PER_APP:
            return QuotaReached(f"value_key would exceed the {settings.MAX_KEYS_PER_APP} keys that an app may have.")
        return await self._came_too_late()

    def _is_locked(self, place: Hashable) -> bool:
        now = time.monotonic()
        if any(until < now for until in self._locked.values()):
            self._locked = {each: until for each, until in self._locked.items() if until > now}
        return place in self._locked

    # Reads

    async def _get(self, reads: Sequence[Read]) -> Sequence[dict[int, str] | StoreError]:
        wanted = [(number, nth, read, name) for number, read in enumerate(reads) for nth, name in enumerate(read.names)]
        parameters = {
            "reads": [number for number, _, _, _ in wanted],
            "nths": [nth for _, nth, _, _ in wanted],
            "owner_kinds": [read.owner.kind for _, _, read, _ in wanted],
            "owner_ids": [read.owner.id for _, _, read, _ in wanted],
            "apps": [read.app for _, _, read, _ in wanted],
            "keys": [name.key for _, _, _, name in wanted],
            "shared_apps": [name.shared_app for _, _, _, name in wanted],
            "shared_keys": [name.shared_key for _, _, _, name in wanted],
            "max_bytes": settings.MAX_VALUES_BYTES,
        }
        try:
            rows = await self._execute(statements.GET, parameters)
        except psycopg.Error as cause:
            return [self._unavailable(cause)] * len(reads)
        found: dict[int, dict[int, str] | StoreError] = {number: {} for number in range(len(reads))}
        for number, nth, value in rows:
            values = found[number]
            if value is None:
                found[number] = TooMuchData(f"The values have more than {settings.MAX_VALUES_BYTES} bytes together.")
            elif isinstance(values, dict):
                values[nth] = value
        return [found[number] for number in range(len(reads))]

    # The database

    async def _run(self, statement: str, parameters: dict[str, Any]) -> Sequence[TupleRow]:
        try:
            return await self._execute(statement, parameters)
        except psycopg.Error as cause:
            raise self._unavailable(cause) from None

    async def _execute(
        self, statement: str, parameters: dict[str, Any], ends: float | None = None
    ) -> Sequence[TupleRow]:
        rows = await self._pool.execute(statement, parameters, ends)
        if self._is_out:
            log.warning("the database can be used again")
            self._is_out = False
        return rows

    async def _came_too_late(self) -> StoreUnavailable:
        """Of a statement that came to the server after its time: by a slow server, or since one clock was set."""
        await self._pool.renew()
        return StoreUnavailable("The database takes too long.")

    def _failure(self, cause: psycopg.Error) -> StoreError:
        if isinstance(cause, DataError | ProgramLimitExceeded):
            return NotStorable("value_key or value_data can't be stored.")
        return self._unavailable(cause)

    def _unavailable(self, cause: psycopg.Error) -> StoreUnavailable:
        """The driver's own words may quote a row, so they go nowhere."""
        if not _is_lost(cause):
            log.error("a statement failed", cause=type(cause).__name__, sqlstate=cause.sqlstate)
        elif not self._is_out:
            self._is_out = True
            log.error("the database can't be used", cause=type(cause).__name__, sqlstate=cause.sqlstate)
        return StoreUnavailable("The database can't be used now.")


def _owner(owner: Owner) -> dict[str, Any]:
    return {"owner_kind": owner.kind, "owner_id": owner.id}


def _merged(writes: Sequence[Write]) -> dict[Hashable, _Row]:
    """One row for each place: several writes of one app to one place are one row, the last of them, counted."""
    rows: dict[Hashable, _Row] = {}
    for write in writes:
        place = write.place
        if row := rows.get(place):
            row.write = write
            row.writes += 1
        else:
            rows[place] = _Row(write)
    return rows


def _is_lost(cause: psycopg.Error) -> bool:
    """Whether it is the connection or the server that failed, and not the statement."""
    state = cause.sqlstate
    return state is None or state == "25006" or (state[:2] in {"08", "57"} and state != "57014")
