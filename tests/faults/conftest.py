"""The service over a database that can be stopped, killed, frozen and locked."""

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Server
from tests.databases import migrate, own_postgres
from tests.faults.site import Site


@pytest.fixture(scope="package")
def running_site(django_db_setup: None, start_server: Callable[..., Server]) -> Iterator[Site]:
    with own_postgres("max_connections=40") as postgres:
        migrate(postgres.url)
        server = start_server(wait="/readyz", DATABASE_URL=postgres.url, WORKERS="2", MAX_KEYS_PER_APP="2000")
        yield Site(postgres, server)
        server.stop()
        assert "Traceback" not in server.log.read_text()


@pytest.fixture
def site(running_site: Site) -> Site:
    """The service over an empty table, with its database there."""
    running_site.execute("TRUNCATE userdata_storedvalue")
    running_site.assert_back()
    running_site.execute("TRUNCATE userdata_storedvalue")
    return running_site
