"""PocketBase: the popular single binary, updating records with its own tokens in its own SQLite."""

import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path

from bench import install
from bench.candidates.base import Candidate, Site
from bench.processes import Server, free_port, run, serving
from bench.workload import KEYS, USERS, Load


class PocketBase(Candidate):
    name = "pocketbase"
    title = "PocketBase (its own SQLite and tokens)"
    remark = (
        "**not as durable**: its SQLite runs with `journal_mode=WAL` and `synchronous=NORMAL`, so an answer does not"
        " wait for the disk and a power cut can lose the last commits; checks its own HS256 tokens"
    )

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.data = site.scratch / "pocketbase"
        self.users_file = site.scratch / "pocketbase-users.tsv"

    def install(self) -> None:
        modules = install.node_modules(self.site.installed / self.name, self.folder)
        self.binary = modules / "node_modules" / ".bin" / "pocketbase"

    def prepare(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        self._run("migrate", "up")
        self._run("seed", str(USERS), str(KEYS), str(self.users_file), hooks=self.folder / "seed")

    def serve(self, settings: Mapping[str, str] | None = None) -> AbstractContextManager[Server]:
        port = free_port()
        command = self._command("serve", "--http", f"127.0.0.1:{port}")
        log = self.site.log(self.name)
        return serving(command, dict(os.environ) | dict(settings or {}), self.site.scratch, port, "/api/health", log)

    def load(self) -> Load:
        return Load(
            self.users_file,
            method="PATCH",
            path="/api/collections/stored_values/records/{user}-{key}",
            body='{"value":"{value}"}',
            success='"collectionId"',
        )

    def stored(self, mark: str) -> int:
        with closing(sqlite3.connect(f"file:{self.data / 'data.db'}?mode=ro", uri=True)) as connection:
            text = "SELECT count(*) FROM stored_values WHERE value LIKE ?"
            [[count]] = connection.execute(text, (mark + "%",))
        return int(count)

    def _command(self, *arguments: str, hooks: Path | None = None) -> list[str | Path]:
        no_hooks = self.site.scratch / "no-hooks"
        return [
            self.binary,
            *arguments,
            f"--dir={self.data}",
            f"--hooksDir={hooks or no_hooks}",
            f"--migrationsDir={no_hooks}",
            f"--publicDir={no_hooks}",
            "--hooksWatch=false",
        ]

    def _run(self, *arguments: str, hooks: Path | None = None) -> None:
        run(self._command(*arguments, hooks=hooks), os.environ, self.site.scratch, self.site.log(self.name))
