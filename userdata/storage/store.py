"""What the rest of the service asks of the database."""

import time
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

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
from userdata.storage.items import Name, Owner, Read, Row, Write, first_end, merged
from userdata.storage.pool import Pool

log = structlog.get_logger(__name__)

MAX_BATCH_BYTES = 4 * 2**20
MAX_BATCH_KEYS = 320

# What another statement is in the way of, and not what was asked. A key may be doubled, in spite of ON CONFLICT, while
# a migration builds another unique index.
CONTENTION = (LockNotAvailable, DeadlockDetected, UniqueViolation)


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
        rows = merged(writes)
        try:
            return self._told(writes, await self._put(list(rows.values()), first_end(writes)))
        except CONTENTION:
            return self._told(writes, {})
        except psycopg.Error as cause:
            if _is_lost(cause) or len(rows) == 1:
                return [self._failure(cause)] * len(writes)
            return await self._commit_apart(writes)

    async def _commit_apart(self, writes: Sequence[Write]) -> Sequence[Any]:
        """Store rows one by one, as far as the first of the callers has time."""
        outcomes: dict[Hashable, StoreError | None] = {}
        ends = first_end(writes)
        for place, row in merged(writes).items():
            if time.monotonic() > ends - deadlines.STATEMENT:
                break
            try:
                outcomes |= await self._put([row], ends)
            except CONTENTION:
                self._locked[place] = time.monotonic() + deadlines.LOCKED
            except psycopg.Error as cause:
                outcomes[place] = self._failure(cause)
        return self._told(writes, outcomes)

    def _told(self, writes: Sequence[Write], outcomes: Mapping[Hashable, StoreError | None]) -> Sequence[Any]:
        """What becomes of each write; what is not decided joins a batch of those apart, as long as there is time."""
        last = time.monotonic() + deadlines.STATEMENT
        return [
            outcomes[write.place]
            if write.place in outcomes
            else self._slow_writes.submit(write)
            if write.ends > last
            else StoreUnavailable("The key is locked.")
            for write in writes
        ]

    async def _put(self, rows: Sequence[Row], ends: float) -> dict[Hashable, StoreError | None]:
        """What becomes of each place, but for those that may be tried again.

        Raises `psycopg.Error`, and then nothing was stored.
        """
        if len(rows) == 1 and await self._update(rows[0], ends):
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
        refused = {(Owner(kind, id_), key) for kind, id_, key in await self._execute(statements.PUT, parameters, ends)}
        if len(refused) < len(rows):
            metrics.BATCHES.inc()
        outcomes: dict[Hashable, StoreError | None] = {}
        for write in writes:
            reason = await self._why_not_put(write, ends) if write.place in refused else None
            if reason or write.place not in refused:
                outcomes[write.place] = reason
        return outcomes

    async def _update(self, row: Row, ends: float) -> bool:
        """Whether the key was there, and the app's own; then it is overwritten."""
        write = row.write
        parameters = _owner(write.owner) | {
            "key": write.key,
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
        """None where nothing is in the way any more."""
        parameters = _owner(write.owner) | {"key": write.key, "app": write.app}
        try:
            ((holder, held, is_in_time),) = await self._execute(statements.WHY_NOT_PUT, parameters, ends)
        except psycopg.Error as cause:
            return self._unavailable(cause)
        if holder is not None and holder != write.app:
            return OwnedByAnotherApp("value_key belongs to another app.")
        if holder is None and held >= settings.MAX_KEYS_PER_APP:
            return QuotaReached(f"value_key would exceed the {settings.MAX_KEYS_PER_APP} keys that an app may have.")
        return None if is_in_time else await self._came_too_late()

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


def _is_lost(cause: psycopg.Error) -> bool:
    """Whether it is the connection or the server that failed, and not the statement."""
    state = cause.sqlstate
    return state is None or state == "25006" or (state[:2] in {"08", "57"} and state != "57014")
