"""The only code that speaks to the database about values."""

import time
from collections.abc import Sequence
from struct import pack
from typing import NamedTuple

import psycopg
import structlog
from django.conf import settings
from psycopg.errors import DataError, LockNotAvailable, ProgramLimitExceeded
from psycopg.pq import Format
from psycopg.pq.abc import PGresult

from userdata import metrics
from userdata.exceptions import InvalidParameters, KeyAccessDenied, ServiceUnavailable
from userdata.group_commit import GroupCommit, Row
from userdata.pool import Pool
from userdata.waiting import wait

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 2.0
OUTAGE_SECONDS = 0.5
RETRY_SECONDS = 1.0  # that have to be left for a second try
BATCH_SECONDS = 1.5  # for a batch, stored row by row if need be


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

    @property
    def place(self) -> tuple[Owner, str]:
        return self.owner, self.key

    @property
    def writer(self) -> str:
        return self.app

    @property
    def size(self) -> int:
        return len(self.value)


# One statement for all rows of a batch; it returns the places that it wrote to.
#
# A key that exists is written without counting anything. Only where one does not, the subquery is run:
# for each new key, the function takes the lock on the app's keys of that owner and counts them; the rank
# among the new keys of the same batch is added. All those locks are taken, in order, before those of the
# rows, which are sorted too: no two batches can wait for each other.
#
# A statement that the server comes to only when nobody waits for it any more, as after it was frozen,
# writes nothing: it has been answered with a failure, and others may have written since.
PUT = """
INSERT INTO userdata_storedvalue AS v (owner_kind, owner_id, key, value, app, access_scope, revision)
SELECT owner_kind, owner_id, key, value, app, access_scope, writes
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]::smallint[],
    $7::text[]::bigint[])
    WITH ORDINALITY AS i(owner_kind, owner_id, key, value, app, access_scope, writes, nth)
WHERE (EXISTS (
    SELECT FROM userdata_storedvalue k WHERE k.owner_kind = i.owner_kind AND k.owner_id = i.owner_id AND k.key = i.key
) OR nth = ANY (ARRAY(
    SELECT nth FROM (
        SELECT n.*, row_number() OVER (PARTITION BY owner_kind, owner_id, app ORDER BY nth) AS rank
        FROM unnest($1, $2, $3, $5) WITH ORDINALITY AS n(owner_kind, owner_id, key, app, nth)
        WHERE NOT EXISTS (
            SELECT FROM userdata_storedvalue k
            WHERE k.owner_kind = n.owner_kind AND k.owner_id = n.owner_id AND k.key = n.key
        )
    ) AS new
    WHERE userdata_has_room(owner_kind, owner_id, app, key, rank, $8::bigint)
)))
    AND clock_timestamp() < to_timestamp($9::float8)
ORDER BY owner_kind, owner_id, key
ON CONFLICT (owner_kind, owner_id, key) DO UPDATE
SET value = excluded.value, access_scope = excluded.access_scope,
    revision = v.revision + excluded.revision, updated_at = now()
WHERE v.app = excluded.app
RETURNING owner_kind, owner_id, key
"""
# For a row that comes alone, as most do while there is little to do, and most often overwrites a key that exists: it
# takes a sixth less time than `PUT`, which is left with new keys and with telling what is wrong.
UPDATE = """
UPDATE userdata_storedvalue
SET value = $5, access_scope = $6, revision = revision + $7, updated_at = now()
WHERE owner_kind = $1 AND owner_id = $2 AND key = $3 AND app = $4 AND clock_timestamp() < to_timestamp($8::float8)
"""
CHECK = "SELECT FROM userdata_storedvalue LIMIT 0"

# Who owns a key, and how many the app has: asked only when a row was not written.
WHY_NOT = """
SELECT (SELECT app FROM userdata_storedvalue WHERE owner_kind = $1 AND owner_id = $2 AND key = $3),
    (SELECT count(*) FROM userdata_storedvalue WHERE owner_kind = $1 AND owner_id = $2 AND app = $4)::text
"""


def put(write: Write) -> None:
    """Store a value; return when it is committed to disk.

    Raises `KeyAccessDenied` where another app owns the key, `InvalidParameters` where the app has
    no room for another key or the value can't be stored, and `ServiceUnavailable`.
    """
    if time.monotonic() < _outage.ends:
        raise ServiceUnavailable("The database can't be used now.")
    failure = wait(_writes.put, write)
    if isinstance(failure, TimeoutError):
        raise ServiceUnavailable("The database takes too long.") from failure
    if failure is not None:
        raise failure


def check() -> None:
    """Raise `ServiceUnavailable` unless the table can be read now."""
    try:
        wait(_pool.execute, b"check", [], [])
    except psycopg.Error as cause:
        raise _unavailable(cause) from None


def close() -> None:
    """Give the connections back to the database."""
    wait(_pool.close)


class _Outage:
    """For a moment after the database was out of reach, requests are told so at once instead of queueing for it."""

    ends = 0.0
    known = False

    def begin(self, cause: psycopg.Error) -> None:
        self.ends = time.monotonic() + OUTAGE_SECONDS
        if not self.known:
            log.error("the database can't be used", cause=type(cause).__name__, sqlstate=cause.sqlstate)
        self.known = True

    def end(self) -> None:
        if self.known:
            log.warning("the database can be used again")
        self.known = False


_outage = _Outage()


async def _commit(rows: Sequence[Row[Write]]) -> list[Exception | None]:
    """Store a batch; if it fails as a whole for a row's sake, its rows one by one."""
    if time.monotonic() < _outage.ends:
        # Another batch has found it out while this one queued.
        return [ServiceUnavailable("The database can't be used now.") for _ in rows]
    deadline = time.monotonic() + BATCH_SECONDS
    try:
        return await _execute(rows)
    except psycopg.Error as cause:
        if _is_lost(cause) or (len(rows) == 1 and not isinstance(cause, LockNotAvailable)):
            return [_failure(cause) for _ in rows]
    return [await _store_alone(row, deadline) for row in rows]


async def _store_alone(row: Row[Write], deadline: float) -> Exception | None:
    """A lock that a neighbour's statement held is gone at the second try."""
    for last in (False, True):
        if time.monotonic() > deadline:
            break
        try:
            return (await _execute([row]))[0]
        except psycopg.Error as cause:
            if last or not isinstance(cause, LockNotAvailable) or time.monotonic() > deadline - RETRY_SECONDS:
                return _failure(cause)
    return ServiceUnavailable("The database takes too long.")


async def _execute(rows: Sequence[Row[Write]]) -> list[Exception | None]:
    if len(rows) == 1 and await _update(rows[0]):
        return [None]
    writes = [row.write for row in rows]
    columns = (
        [write.owner.kind for write in writes],
        [write.owner.id for write in writes],
        [write.key for write in writes],
        [write.value for write in writes],
        [write.app for write in writes],
        [str(write.access_scope) for write in writes],
        [str(row.writes) for row in rows],
    )
    max_keys = pack("!q", settings.MAX_KEYS_PER_APP)
    result = await _run(b"put", [*map(_text_array, columns), max_keys])
    if result.ntuples == len(rows):
        return [None] * len(rows)
    written = {tuple(result.get_value(row, column) for column in range(3)) for row in range(result.ntuples)}
    return [None if tuple(_place(write)) in written else await _why_not(write) for write in writes]


async def _update(row: Row[Write]) -> bool:
    """Whether the key was there, and the app's own; then it is overwritten."""
    write = row.write
    scope, writes = pack("!h", write.access_scope), pack("!q", row.writes)
    result = await _run(b"update", [*_place(write), write.app.encode(), write.value.encode(), scope, writes])
    return bool(result.command_tuples)


async def _run(statement: bytes, parameters: Sequence[bytes]) -> PGresult:
    """`parameters`: in PostgreSQL's binary formats."""
    result = await _pool.execute(statement, parameters, [Format.BINARY] * len(parameters), expires=True)
    if result.command_tuples:
        metrics.BATCHES.inc()
    _outage.end()
    return result


async def _why_not(write: Write) -> Exception:
    try:
        result = await _pool.execute(b"why_not", [*_place(write), write.app.encode()], [Format.TEXT] * 4)
    except psycopg.Error as cause:
        return _unavailable(cause)
    owner, held = result.get_value(0, 0), int(result.get_value(0, 1) or 0)
    if owner is not None and owner != write.app.encode():
        return KeyAccessDenied("value_key belongs to another app.")
    if owner is None and held >= settings.MAX_KEYS_PER_APP:
        return InvalidParameters(f"value_key would exceed the {settings.MAX_KEYS_PER_APP} keys that an app may have.")
    _pool.close_idle()  # so that the clocks are compared anew
    return ServiceUnavailable("The database takes too long.")


def _place(write: Write) -> list[bytes]:
    return [write.owner.kind.encode(), write.owner.id.encode(), write.key.encode()]


def _text_array(items: Sequence[str]) -> bytes:
    """A one-dimensional text[] in PostgreSQL's binary format."""
    text_oid = 25
    encoded = [item.encode() for item in items]
    parts = [pack("!iiIii", 1, 0, text_oid, len(encoded), 1)]
    for item in encoded:
        parts += pack("!i", len(item)), item
    return b"".join(parts)


def _is_lost(cause: psycopg.Error) -> bool:
    """Whether it is the connection or the server that failed, and not the statement."""
    state = cause.sqlstate
    return state is None or state == "25006" or (state[:2] in {"08", "57"} and state != "57014")


def _failure(cause: psycopg.Error) -> Exception:
    if isinstance(cause, DataError | ProgramLimitExceeded):
        return InvalidParameters("value_key or value_data can't be stored.")
    return _unavailable(cause)


def _unavailable(cause: psycopg.Error) -> ServiceUnavailable:
    """The driver's own words may quote a row, so they go nowhere."""
    if _is_lost(cause):
        _outage.begin(cause)
    else:
        log.error("a statement failed", cause=type(cause).__name__, sqlstate=cause.sqlstate)
    return ServiceUnavailable("The database can't be used now.")


_pool = Pool({b"update": UPDATE, b"put": PUT, b"check": CHECK, b"why_not": WHY_NOT})
_writes = GroupCommit(_commit, PATIENCE_SECONDS, commits_at_once=2)
