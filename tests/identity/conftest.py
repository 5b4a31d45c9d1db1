from collections.abc import Iterator

import pytest

from tests.identity.keyserver import KeyServer


@pytest.fixture
def server() -> Iterator[KeyServer]:
    front = KeyServer()
    yield front
    front.close()
