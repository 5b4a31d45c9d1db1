"""A web page of another origin calls the service with `fetch`, as apps in JavaScript do."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.browser.chromium import Browser
from tests.conftest import Server
from tests.tokens import token

pytestmark = pytest.mark.browser

# The answer, with the headers that a page may read; or the message of what `fetch` throws.
CALL = """
const [url, bearer, body, done] = arguments;
const headers = { Authorization: `Bearer ${bearer}`, 'Content-Type': 'application/json' };
fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
    .then(async (response) => done([await response.json(), Object.fromEntries(response.headers)]))
    .catch((error) => done(error.message));
"""


class Page(BaseHTTPRequestHandler):
    """An app's web page with nothing on it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:,><title>An app</title>")

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def page(browser: Browser) -> Iterator[Browser]:
    app = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    browser.open(f"http://127.0.0.1:{app.server_port}/")
    yield browser
    app.shutdown()
    app.server_close()


def call(page: Browser, server: Server, path: str, bearer: str, **body: Any) -> Any:
    return page.driver.execute_async_script(CALL, f"{server.url}/user-data/{path}", bearer, body)


@pytest.mark.parametrize("storage", ["", "by-user-id/", "by-email/"])
def test_it_stores_a_value_and_reads_it(page: Browser, server: Server, stored: Any, storage: str) -> None:
    answer, _ = call(page, server, f"{storage}set", token(), value_key="theme", value_data="dark ✓")
    assert answer == {"result": 0}

    answer, _ = call(page, server, f"{storage}get", token(), value_keys=["theme"])
    assert answer == {"result": 0, "values": [{"value_key": "theme", "value_data": "dark ✓"}]}
    assert stored.get().value == "dark ✓"
    assert page.complaints() == []


def test_it_can_read_why_a_call_failed(page: Browser, server: Server, stored: Any) -> None:
    answer, headers = call(page, server, "set", token(), value_key="", value_data="dark")
    assert answer == {"result": -7}
    assert headers["x-result-detail"] == "value_key must have 1 to 128 characters."
    assert headers["x-request-id"]

    answer, headers = call(page, server, "by-user-id/get", "no.to.ken", value_keys=["theme"])
    assert answer == {"result": -1, "values": []}
    assert headers["www-authenticate"].startswith('Bearer error="invalid_token"')

    assert not stored.exists()


def test_it_is_refused_where_its_origin_is_not_allowed(
    page: Browser, start_server: Callable[..., Server], database_url: str
) -> None:
    server = start_server(DATABASE_URL=database_url, CORS_ALLOWED_ORIGINS="https://app.example")

    assert call(page, server, "set", token(), value_key="theme", value_data="dark") == "Failed to fetch"
    assert call(page, server, "get", token(), value_keys=["theme"]) == "Failed to fetch"
