"""A web page of another origin calls the service, as the documentation's JavaScript example does."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.conftest import Server
from tests.test_docs import examples
from tests.tokens import token


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
def page(browser: Any) -> Iterator[Any]:
    app = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    browser.open(f"http://127.0.0.1:{app.server_port}/")
    yield browser
    app.shutdown()
    app.server_close()


def call(page: Any, server: Server, arguments: str) -> Any:
    """What the example's function comes to: its result, or the message of what it throws."""
    [example] = examples("javascript", server.url)
    return page.driver.execute_async_script(
        f"const done = arguments[arguments.length - 1]; {example}\n"
        f"setValue({arguments}).then(value => done([value]), error => done(error.message))"
    )


def test_it_stores_a_value(page: Any, server: Server, stored: Any) -> None:
    assert call(page, server, f"'{token()}', 'theme', 'dark'") == [None]

    assert stored.get().value == "dark"
    assert page.complaints() == []


def test_it_can_read_why_a_call_failed(page: Any, server: Server, stored: Any) -> None:
    assert call(page, server, f"'{token()}', '', 'dark'") == "result -7: value_key must have 1 to 128 characters."
    assert "result -1" in call(page, server, "'no.to.ken', 'theme', 'dark'")

    assert not stored.exists()


def test_it_is_refused_where_its_origin_is_not_allowed(page: Any, start_server: Any, database_url: str) -> None:
    server = start_server(DATABASE_URL=database_url, CORS_ALLOWED_ORIGINS="https://app.example")

    assert call(page, server, f"'{token()}', 'theme', 'dark'") == "Failed to fetch"
