"""PostgreSQL servers of a test's own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypersecureid.local.postgres import Postgres
from tests.conftest import PROJECT


@contextmanager
def own_postgres(*options: str) -> Iterator[Postgres]:
    """A running server that goes with the block. `options`: its settings, as `fsync=off`."""
    # Not below pytest's own folder, which another run of it may close to the user whom PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp(prefix="userdata-tests-"))
    postgres = Postgres(folder / "data", *options)
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.close()
        shutil.rmtree(folder)


def migrate(url: str) -> None:
    """Make the tables of a database, as an operator does."""
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v", "0"],
        cwd=PROJECT,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        check=True,
    )
