"""Kinto: the nearest product. A bucket for each user, with one collection and a record for each key."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg

from bench import database, install
from bench.candidates.base import Candidate, Site
from bench.processes import Server, free_port, run, serving
from bench.workload import KEYS, USERS, Load


class Kinto(Candidate):
    name = "kinto"
    title = "Kinto (PostgreSQL backend; gunicorn, 2 workers)"
    remark = (
        "checks no token: its cheapest policy, one HMAC of the Basic credentials for each request, stands in;"
        " keeps a permission entry for each record"
    )

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.secret = secrets.token_hex(32)
        self.users_file = site.scratch / "kinto-users.tsv"

    @property
    def url(self) -> str:
        return self.site.cluster.url_of("bench_kinto")

    def install(self) -> None:
        self.programs = install.python_environment(self.site.installed / self.name, self.folder / "requirements.txt")

    def environment(self) -> dict[str, str]:
        return {
            "PATH": str(self.programs),
            "LANG": "C.UTF-8",
            "KINTO_STORAGE_URL": self.url,
            "KINTO_PERMISSION_URL": self.url,
            "KINTO_USERID_HMAC_SECRET": self.secret,
        }

    def prepare(self) -> None:
        self.site.cluster.create("bench_kinto")
        migrate: list[str | Path] = [self.programs / "kinto", "migrate", "--ini", "kinto.ini"]
        run(migrate, self.environment(), self.folder, self.site.log(self.name))
        users = [f"u{n}" for n in range(1, USERS + 1)]
        with psycopg.connect(self.url) as connection:
            connection.execute("CREATE TEMPORARY TABLE bench_user (n int, name text, userid text)")
            with connection.cursor().copy("COPY bench_user FROM STDIN") as copy:
                for n, name in enumerate(users, 1):
                    copy.write_row((n, name, self._principal(name)))
            connection.execute("SELECT set_config('bench.keys', %s, true)", (str(KEYS),))
            connection.execute((self.folder / "fill.sql").read_bytes())
        database.query(self.url, "VACUUM ANALYZE")
        self.users_file.write_text("".join(f"{name}\tBasic {_basic(name)}\n" for name in users))

    def serve(self, settings: Mapping[str, str] | None = None) -> AbstractContextManager[Server]:
        port = free_port()
        options = ["--workers=2", "--worker-class=gthread", "--threads=4", "--keep-alive=60", "--log-level=warning"]
        command: list[str | Path] = [self.programs / "gunicorn", "wsgi", f"--bind=127.0.0.1:{port}", *options]
        environment = self.environment() | dict(settings or {})
        return serving(command, environment, self.folder, port, "/v1/__heartbeat__", self.site.log(self.name))

    def load(self) -> Load:
        return Load(
            self.users_file,
            method="PUT",
            path="/v1/buckets/{user}/collections/values/records/{key}",
            body='{"data":{"value":"{value}"}}',
            success='"permissions"',
        )

    def stored(self, mark: str) -> int:
        text = "SELECT count(*) FROM objects WHERE resource_name = 'record' AND data->>'value' LIKE %s"
        [[count]] = database.query(self.url, text, (mark + "%",))
        return int(count)

    def _principal(self, name: str) -> str:
        """The user id that Kinto derives from Basic credentials."""
        digest = hmac.new(self.secret.encode(), f"{name}:{_password(name)}".encode(), hashlib.sha256)
        return f"basicauth:{digest.hexdigest()}"


def _password(name: str) -> str:
    return f"password-of-{name}"


def _basic(name: str) -> str:
    return base64.b64encode(f"{name}:{_password(name)}".encode()).decode()
