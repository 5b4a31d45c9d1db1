from collections.abc import Iterator

import pytest

from tests.browser.conftest import browser, shared_browser  # noqa: F401 - fixtures
from tests.conftest import Server
from tests.examples.servers import Provider, ServiceFront, serving


@pytest.fixture
def front(server: Server) -> Iterator[ServiceFront]:
    with serving(ServiceFront(server.url)) as front:
        yield front


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving(Provider()) as provider:
        yield provider
