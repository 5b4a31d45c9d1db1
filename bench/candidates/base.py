"""What every candidate has: its data, its server and its dialect."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench import database
from bench.database import Cluster
from bench.processes import Server, free_port, serving
from bench.tokens import Signer
from bench.workload import APP, ISSUER, KEYS, USER_ID_SQL, USERS, Load

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "bench" / "peers"


@dataclass(frozen=True)
class Site:
    """Where a run takes place."""

    # Environments, kept from run to run.
    installed: Path
    # Everything else, gone after the run.
    scratch: Path
    cluster: Cluster
    signer: Signer
    # The users' tokens, for the candidates that take the identity provider's.
    users_file: Path

    def log(self, name: str) -> Path:
        return self.scratch / f"{name}.log"


class Candidate(ABC):
    """Something that stores a user's value over HTTP."""

    name: ClassVar[str]
    title: ClassVar[str]
    # What a reader of the table must know to compare fairly.
    remark: ClassVar[str] = ""

    def __init__(self, site: Site) -> None:
        self.site = site

    @property
    def folder(self) -> Path:
        return PEERS / self.name

    @abstractmethod
    def install(self) -> None:
        """Make what the server runs in. Raises `install.Missing`."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the store anew, with a row for each key of each user. Raises `DidNotStart`."""

    @abstractmethod
    def serve(self, settings: Mapping[str, str] | None = None) -> AbstractContextManager[Server]:
        """The server, with `settings` on top of its own environment. Raises `DidNotStart`."""

    @abstractmethod
    def load(self) -> Load:
        """How it is asked."""

    @abstractmethod
    def stored(self, mark: str) -> int:
        """How many rows hold a value that begins with `mark`."""


class TakesOurTokens(Candidate):
    """Speaks our API's dialect, checks the identity provider's tokens, keeps its rows in one table in PostgreSQL."""

    database: ClassVar[str]
    table: ClassVar[str] = "user_value"
    # Columns that a row needs besides owner, key, value and app, with their values in SQL.
    further_columns: ClassVar[Mapping[str, str]] = {}

    @property
    def url(self) -> str:
        return self.site.cluster.url_of(self.database)

    @abstractmethod
    def command(self, port: int) -> Sequence[str | Path]:
        """What starts the server."""

    @abstractmethod
    def make_table(self) -> None:
        """Make the table in the empty database at `url`."""

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "DATABASE_URL": self.url,
            "JWT_ISSUER": ISSUER,
            "JWT_PUBLIC_KEY_FILE": str(self.site.signer.public_key_file),
        }

    def serve(self, settings: Mapping[str, str] | None = None) -> AbstractContextManager[Server]:
        port = free_port()
        environment = self.environment() | {"PORT": str(port)} | dict(settings or {})
        return serving(self.command(port), environment, self.folder, port, "/readyz", self.site.log(self.name))

    def prepare(self) -> None:
        self.site.cluster.create(self.database)
        self.make_table()
        self.fill(USERS)

    def fill(self, users: int) -> None:
        """A row for each key of each user, as they would have come in: key by key, the users in no order."""
        columns = "".join(f", {column}" for column in self.further_columns)
        values = "".join(f", {value}" for value in self.further_columns.values())
        database.query(
            self.url,
            f"INSERT INTO {self.table} (owner_id, key, value, app{columns})"
            f" SELECT {USER_ID_SQL.format(n='n')}, 'key-' || k, 'not yet set', '{APP}'{values}"
            f" FROM generate_series(1, {KEYS}) AS k, generate_series(1, {users}) AS n",
        )
        database.query(self.url, f"VACUUM ANALYZE {self.table}")

    def load(self) -> Load:
        return Load(self.site.users_file)

    def stored(self, mark: str) -> int:
        condition = f"left(value, {len(mark)}) = %s"
        [[count]] = database.query(self.url, f"SELECT count(*) FROM {self.table} WHERE {condition}", (mark,))
        return int(count)
