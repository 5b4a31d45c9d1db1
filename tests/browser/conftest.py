"""A real browser. These tests have their own command, `make test-browser`, since they need Chromium."""

from collections.abc import Iterator

import pytest

from tests.browser import chromium
from tests.browser.chromium import Browser


@pytest.fixture(scope="session")
def shared_browser() -> Iterator[Browser]:
    with chromium.running() as browser:
        yield browser


@pytest.fixture
def browser(shared_browser: Browser) -> Browser:
    """The browser on an empty page, with nothing noted yet."""
    shared_browser.clear()
    return shared_browser
