"""What the rest of the service asks of the database."""

import time
from collections.abc import Sequence
from typing import Any

import psycopg
import structlog
from django.conf import settings
from psycopg.errors import DataError, DeadlockDetected, LockNotAvailable, ProgramLimitExceeded, UniqueViolation
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

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
from userdata.storage.items import Name, Owner, Place, Read, Row, Write, first_end, merged
from userdata.storage.pool import Pool
from userdata.storage.watch import PoolWatch

log = structlog.get_logger(__name__)

MAX_BATCH_BYTES = 4 * 2**20
MAX_BATCH_KEYS = 320

# What another statement is in the way of, and not what was asked. A key may be doubled, in spite of ON CONFLICT, while
# a migration builds another unique index.
CONTENTION = (LockNotAvailable, DeadlockDetected, UniqueViolation)

NotStored = dict[Place, StoreError | None]
"""Places that were not written to, and why: None where it may be tried again."""


class Store:
    """The table of stored values, over connections of its own; made and closed on one event loop.

    Every method raises `StoreUnavailable` where the database can't be used now, within `deadlines.ANSWER`.
    """

    def __init__(self, parameters: dict[str, Any]) -> None:
        """`parameters`: psycopg's for connecting."""
        self._pool = Pool(parameters, prepare=settings.DATABASE_PREPARED_STATEMENTS)
        self._watch = PoolWatch(self._pool)
        self._writes: Batcher[Write, None] = GroupCommit(self._commit, at_once=2, max_weight=MAX_BATCH_BYTES)
        self._slow_writes: Batcher[Write, None] = GroupCommit(self._commit_apart, at_once=2, max_weight=MAX_BATCH_BYTES)
        self._reads: Batcher[Read, dict[int, str]] = Batcher(self._get, at_once=2, max_weight=MAX_BATCH_KEYS)
        self._locked: dict[Place, float] = {}  # place → until when it is written apart, by the monotonic clock
        self._is_out = False

    async def open(self) -> None:
        """Begin to connect; statements may be asked for at once."""
        await self._pool.open()
        self._watch.start()

    async def close(self) -> None:
        await self._watch.close()
        await self._pool.close()

    async def put(self, owner: Owner, app: str, key: str, value: str, access_scope: int) -> None:
        """Store a value; return when it is committed to disk.

        Raises `OwnedByAnotherApp`, `QuotaReached` where the app has no room for another key, and `NotStorable`.
        """
        write = Write(Place(*owner, key), value, app, access_scope, time.monotonic() + deadlines.REQUEST)
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
        rows = merged(writes)
        try:
            return self._told(writes, await self._put(rows, first_end(writes)))
        except CONTENTION:
            return self._told(writes, {row.write.place: None for row in rows})
        except psycopg.Error as cause:
            if _is_lost(cause) or len(rows) == 1:
                return [self._failure(cause)] * len(writes)
            return await self._commit_apart(writes)

    async def _commit_apart(self, writes: Sequence[Write]) -> Sequence[Any]:
        """Store rows one by one, as far as the first of the callers has time."""
        not_stored: NotStored = {}
        ends = first_end(writes)
        for row in merged(writes):
            place = row.write.place
            if time.monotonic() > ends - deadlines.STATEMENT:
                not_stored[place] = None
                continue
            try:
                not_stored |= await self._put([row], ends)
            except CONTENTION:
                not_stored[place] = None
                self._locked[place] = time.monotonic() + deadlines.LOCKED
            except psycopg.Error as cause:
                not_stored[place] = self._failure(cause)
        return self._told(writes, not_stored)

    def _told(self, writes: Sequence[Write], not_stored: NotStored) -> Sequence[Any]:
        """What becomes of each write; what may be tried again joins a batch of those apart, if there is time."""
        if not not_stored:
            return [None] * len(writes)
        last = time.monotonic() + deadlines.STATEMENT
        return [
            None
            if write.place not in not_stored
            else not_stored[write.place]
            or (self._slow_writes.submit(write) if write.ends > last else StoreUnavailable("The key is locked."))
            for write in writes
        ]

    async def _put(self, rows: Sequence[Row], ends: float) -> NotStored:
        """Store the rows. Raises `psycopg.Error`, and then nothing was stored."""
        if len(rows) == 1 and await self._update(rows[0], ends):
            return {}
        writes = [row.write for row in rows]
        parameters = {
            "owner_kinds": [write.place.owner_kind for write in writes],
            "owner_ids": [write.place.owner_id for write in writes],
            "keys": [write.place.key for write in writes],
            "values": [write.value for write in writes],
            "apps": [write.app for write in writes],
            "access_scopes": [write.access_scope for write in writes],
            "writes": [row.writes for row in rows],
            "max_keys": settings.MAX_KEYS_PER_APP,
        }
        refused = {Place(*place) for place in await self._execute(statements.PUT, parameters, ends)}
        if len(refused) < len(rows):
            metrics.BATCHES.inc()
        return {write.place: await self._why_not_put(write, ends) for write in writes if write.place in refused}

    async def _update(self, row: Row, ends: float) -> bool:
        """Whether the key was there, and the app's own; then it is overwritten."""
        write = row.write
        parameters = write.place._asdict() | {
            "app": write.app,
            "value": write.value,
            "access_scope": write.access_scope,
            "writes": row.writes,
        }
        updated = bool(await self._execute(statements.UPDATE, parameters, ends))
        if updated:
            metrics.BATCHES.inc()
        return updated

    async def _why_not_put(self, write: Write, ends: float) -> StoreError | None:
        """None where it may be tried again: nothing is in the way any more."""
        parameters = write.place._asdict() | {"app": write.app}
        try:
            ((holder, held, is_in_time),) = await self._execute(statements.WHY_NOT_PUT, parameters, ends)
        except psycopg.Error as cause:
            return self._unavailable(cause)
        if holder is not None and holder != write.app:
            return OwnedByAnotherApp("value_key belongs to another app.")
        if holder is None and held >= settings.MAX_KEYS_PER_APP:
            return QuotaReached(f"value_key would exceed the {settings.MAX_KEYS_PER_APP} keys that an app may have.")
        return None if is_in_time else await self._came_too_late()

    def _is_locked(self, place: Place) -> bool:
        now = time.monotonic()
        if any(until < now for until in self._locked.values()):
            self._locked = {each: until for each, until in self._locked.items() if until > now}
        return place in self._locked

    # Reads

    async def _get(self, reads: Sequence[Read]) -> Sequence[dict[int, str] | StoreError]:
        asked = Jsonb([(*read.owner, read.app, read.names) for read in reads])
        parameters = {"reads": asked, "max_bytes": settings.MAX_VALUES_BYTES}
        try:
            rows = await self._execute(statements.GET, parameters)
        except psycopg.Error as cause:
            return [self._unavailable(cause)] * len(reads)
        found: list[dict[int, str] | StoreError] = [{} for _ in reads]
        for number, nth, value in rows:
            values = found[number - 1]
            if value is None:
                found[number - 1] = TooMuchData(
                    f"The values have more than {settings.MAX_VALUES_BYTES} bytes together."
                )
            elif isinstance(values, dict):
                values[nth - 1] = value
        return found

    # The database

    async def _run(self, statement: str, parameters: dict[str, Any]) -> Sequence[TupleRow]:
        try:
            return await self._execute(statement, parameters)
        except psycopg.Error as cause:
            raise self._unavailable(cause) from None

    async def _execute(
        self, statement: str, parameters: dict[str, Any], ends: float | None = None
    ) -> Sequence[TupleRow]:
        try:
            rows = await self._pool.execute(statement, parameters, ends)
        except psycopg.Error as cause:
            # What went wrong in connecting is what the pool's own error came from.
            metrics.store_failed(cause.sqlstate, had_connection=cause.__cause__ is None)
            raise
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


def _is_lost(cause: psycopg.Error) -> bool:
    """Whether it is the connection or the server that failed, and not the statement."""
    state = cause.sqlstate
    return state is None or state == "25006" or (state[:2] in {"08", "57"} and state != "57014")
