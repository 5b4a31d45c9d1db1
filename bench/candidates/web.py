"""Our service, and the services that a team would write instead of taking it."""

import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from bench import database, install
from bench.candidates.base import ROOT, TakesOurTokens
from bench.processes import run
from bench.workload import Load


class Ours(TakesOurTokens):
    """`make run`'s server with its defaults, through the documented path with all its checks."""

    name = "ours"
    database = "bench_ours"
    title = "ours (Django + DRF)"
    table = "userdata_storedvalue"
    further_columns: ClassVar[Mapping[str, str]] = {"owner_kind": "'user'", "access_scope": "0"}

    @property
    def folder(self) -> Path:
        return ROOT

    def install(self) -> None:
        """It runs in the environment that runs the benchmark."""

    def environment(self) -> dict[str, str]:
        return super().environment() | {
            "SECRET_KEY": secrets.token_urlsafe(50),
            "ALLOWED_HOSTS": "127.0.0.1",
            "HOST": "127.0.0.1",
            "JWT_ALGORITHMS": "RS256",
        }

    def command(self, port: int) -> Sequence[str | Path]:
        return [sys.executable, "manage.py", "serve"]

    def make_table(self) -> None:
        command = [sys.executable, "manage.py", "migrate", "--noinput"]
        run(command, self.environment(), ROOT, self.site.log(self.name))

    def load(self) -> Load:
        return Load(self.site.users_file, success='"result": 0')


class OursWithManyRows(Ours):
    """The same with ten million rows, the load's users lying among a million."""

    name = "ours_many_rows"
    database = "bench_ours_many_rows"
    title = "ours, 10 million rows"
    users: ClassVar[int] = 1_000_000

    def prepare(self) -> None:
        self.site.cluster.create(self.database)
        self.make_table()
        self.fill(self.users)


class Fastify(TakesOurTokens):
    name = "fastify"
    database = "bench_fastify"
    title = "Fastify + pg + jose (cluster of 2)"

    def install(self) -> None:
        self.modules = install.node_modules(self.site.installed / self.name, self.folder) / "node_modules"
        self.node = install.program("node", "nodejs")

    def command(self, port: int) -> Sequence[str | Path]:
        # Modules are looked for beside the script, so it runs from where they are.
        script = self.modules.parent / "server.js"
        script.write_bytes((self.folder / "server.js").read_bytes())
        return [self.node, script]

    def environment(self) -> dict[str, str]:
        return super().environment() | {"NODE_ENV": "production", "WORKERS": "2"}

    def make_table(self) -> None:
        database.load_file(self.url, self.folder / "schema.sql")


class FastAPI(TakesOurTokens):
    name = "fastapi"
    database = "bench_fastapi"
    title = "FastAPI + asyncpg + PyJWT (uvicorn, 2 workers)"

    def install(self) -> None:
        self.programs = install.python_environment(self.site.installed / self.name, self.folder / "requirements.txt")

    def command(self, port: int) -> Sequence[str | Path]:
        options = ["--workers=2", "--loop=uvloop", "--http=httptools", "--no-access-log", "--log-level=warning"]
        return [self.programs / "uvicorn", "app:app", "--host=127.0.0.1", f"--port={port}", *options]

    def make_table(self) -> None:
        database.load_file(self.url, self.folder / "schema.sql")


class PlainDjango(TakesOurTokens):
    name = "django"
    database = "bench_django"
    title = "Django + DRF + simplejwt + update_or_create (gunicorn, 2 workers)"
    table = "plain_uservalue"
    further_columns: ClassVar[Mapping[str, str]] = {"revision": "1", "created_at": "now()", "updated_at": "now()"}

    def install(self) -> None:
        self.programs = install.python_environment(self.site.installed / self.name, self.folder / "requirements.txt")

    def environment(self) -> dict[str, str]:
        return super().environment() | {
            "SECRET_KEY": secrets.token_urlsafe(50),
            "DJANGO_SETTINGS_MODULE": "plain.settings",
        }

    def command(self, port: int) -> Sequence[str | Path]:
        options = ["--workers=2", "--worker-class=gthread", "--threads=4", "--keep-alive=60", "--log-level=warning"]
        return [self.programs / "gunicorn", "plain.wsgi", f"--bind=127.0.0.1:{port}", *options]

    def make_table(self) -> None:
        command: list[str | Path] = [self.programs / "python", "-m", "django", "migrate", "--noinput"]
        run(command, self.environment(), self.folder, self.site.log(self.name))
