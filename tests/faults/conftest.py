"""The service over a database that can be stopped, killed, frozen and locked."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hypersecureid.local.postgres import Postgres
from tests.conftest import PROJECT, Server
from tests.faults.site import Site


def migrate(url: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v", "0"],
        cwd=PROJECT,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        check=True,
    )


@pytest.fixture(scope="package")
def running_site(django_db_setup: None, start_server: Callable[..., Server]) -> Iterator[Site]:
    # Not below pytest's own folder, which another run of it may close to the user whom PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp(prefix="userdata-tests-"))
    postgres = Postgres(folder / "data", "max_connections=40")
    try:
        postgres.start()
        migrate(postgres.url)
        server = start_server(wait="/readyz", DATABASE_URL=postgres.url, WORKERS="2", MAX_KEYS_PER_APP="2000")
        yield Site(postgres, server)
        server.stop()
        assert "Traceback" not in server.log.read_text()
    finally:
        postgres.close()
        shutil.rmtree(folder)


@pytest.fixture
def site(running_site: Site) -> Site:
    """The service over an empty table, with its database there."""
    running_site.execute("TRUNCATE userdata_storedvalue")
    running_site.assert_back()
    running_site.execute("TRUNCATE userdata_storedvalue")
    return running_site
