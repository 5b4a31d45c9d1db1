"""The only code that speaks to the database about values."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
import structlog
from django.conf import settings
from psycopg.errors import DataError, ProgramLimitExceeded

from userdata import metrics, pool
from userdata.exceptions import InvalidParameters, KeyAccessDenied, ServiceUnavailable
from userdata.group_commit import GroupCommit, Row

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 2.4
OUTAGE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose data it is: an `OwnerKind` and the id within it."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Write:
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


# One statement for all rows of a batch. It returns those that were not stored, and whether they found room.
#
# A key that exists is admitted without counting anything. For a new one, the function takes the app's
# lock on this owner's keys and counts them; the rank among the new keys of the same batch is added.
# All those locks are taken, in order, before the rows', which are sorted too: no two batches can wait
# for each other.
PUT = """
WITH incoming AS MATERIALIZED (
    SELECT i.*, EXISTS (
        SELECT FROM userdata_storedvalue v
        WHERE v.owner_kind = i.owner_kind AND v.owner_id = i.owner_id AND v.key = i.key
    ) AS known
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::bigint[])
        WITH ORDINALITY AS i(owner_kind, owner_id, key, value, app, access_scope, writes, nth)
), admitted AS MATERIALIZED (
    SELECT *, known OR userdata_has_room(
        owner_kind, owner_id, app, key,
        row_number() OVER (PARTITION BY owner_kind, owner_id, app, known ORDER BY nth), $8
    ) AS room
    FROM incoming
), stored AS (
    INSERT INTO userdata_storedvalue AS v (owner_kind, owner_id, key, value, app, access_scope, revision)
    SELECT owner_kind, owner_id, key, value, app, access_scope, writes
    FROM admitted WHERE room ORDER BY owner_kind, owner_id, key
    ON CONFLICT (owner_kind, owner_id, key) DO UPDATE
    SET value = excluded.value, access_scope = excluded.access_scope,
        revision = v.revision + excluded.revision, updated_at = now()
    WHERE v.app = excluded.app
    RETURNING owner_kind, owner_id, key
)
SELECT nth, room FROM admitted a WHERE NOT EXISTS (
    SELECT FROM stored s WHERE s.owner_kind = a.owner_kind AND s.owner_id = a.owner_id AND s.key = a.key
)
"""


def put(write: Write) -> None:
    """Store a value; return when it is committed to disk.

    Raises `KeyAccessDenied` where another app owns the key, `InvalidParameters` where the app has
    no room for another key or the value can't be stored, and `ServiceUnavailable`.
    """
    if time.monotonic() < _outage.ends:
        raise ServiceUnavailable("The database can't be used now.")
    try:
        _writes.put(write)
    except TimeoutError as cause:
        raise ServiceUnavailable("The database takes too long.") from cause


def check() -> None:
    """Raise `ServiceUnavailable` unless the table can be read now."""
    try:
        with pool.connection() as conn:
            conn.execute("SELECT FROM userdata_storedvalue LIMIT 0")
    except psycopg.Error as cause:
        raise _unavailable(cause) from None


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


def _commit(rows: Sequence[Row[Write]]) -> list[Exception | None]:
    """Store a batch; if it fails as a whole for a row's sake, its rows one by one."""
    deadline = time.monotonic() + PATIENCE_SECONDS / 2
    try:
        return _execute(rows)
    except psycopg.Error as cause:
        if _is_lost(cause) or len(rows) == 1:
            return [_failure(cause)] * len(rows)
    failures: list[Exception | None] = []
    for row in rows:
        if time.monotonic() > deadline:
            failures.append(ServiceUnavailable("The database takes too long."))
            continue
        try:
            failures += _execute([row])
        except psycopg.Error as cause:
            failures.append(_failure(cause))
    return failures


def _execute(rows: Sequence[Row[Write]]) -> list[Exception | None]:
    writes = [row.write for row in rows]
    parameters = (
        [write.owner.kind for write in writes],
        [write.owner.id for write in writes],
        [write.key for write in writes],
        [write.value for write in writes],
        [write.app for write in writes],
        [write.access_scope for write in writes],
        [row.writes for row in rows],
        settings.MAX_KEYS_PER_APP,
    )
    with pool.connection() as conn:
        not_stored = psycopg.RawCursor(conn).execute(PUT, parameters, prepare=True, binary=True).fetchall()
    metrics.BATCHES.inc()
    _outage.end()
    failures: list[Exception | None] = [None] * len(rows)
    for nth, room in not_stored:
        failures[nth - 1] = (
            KeyAccessDenied("value_key belongs to another app.")
            if room
            else InvalidParameters(f"value_key would exceed the {settings.MAX_KEYS_PER_APP} keys that an app may have.")
        )
    return failures


def _is_lost(cause: psycopg.Error) -> bool:
    """Whether it is the connection or the server that failed, and not the statement."""
    return cause.sqlstate is None or (cause.sqlstate[:2] in {"08", "57"} and cause.sqlstate != "57014")


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


_writes = GroupCommit(_commit, PATIENCE_SECONDS, commits_at_once=2)
