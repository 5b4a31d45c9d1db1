"""What is asked of the store: values to be written and keys to be read, of an owner."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple


class Owner(NamedTuple):
    """Whose data it is: an `OwnerKind` and the id within it."""

    kind: str
    id: str


class Place(NamedTuple):
    """A key of an owner."""

    owner_kind: str
    owner_id: str
    key: str


class Write(NamedTuple):
    """One value to be stored, by an app, in a place."""

    place: Place
    value: str
    app: str
    access_scope: int
    ends: float = inf
    """When the caller is told at the latest, by the monotonic clock."""

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
class Row:
    """What is written to one place: the last of `writes`, which all share its outcome."""

    write: Write
    writes: int = 1


def merged(writes: Sequence[Write]) -> list[Row]:
    """One row for each place: several writes of one app to one place are one row, the last of them, counted."""
    rows: dict[Place, Row] = {}
    for write in writes:
        place = write.place
        if row := rows.get(place):
            row.write = write
            row.writes += 1
        else:
            rows[place] = Row(write)
    return list(rows.values())


def first_end(writes: Sequence[Write]) -> float:
    """When the first of the callers is told at the latest."""
    return min(write.ends for write in writes)
