"""/docs in a browser: complete, usable, and without any outside host."""

from typing import Any

import pytest

from tests.browser.chromium import Browser
from tests.conftest import Server
from tests.tokens import token

pytestmark = pytest.mark.browser

SET = ".opblock:has([data-path='/user-data/by-user-id/set'])"
GET = ".opblock:has([data-path='/user-data/by-user-id/get'])"


def test_the_reference_comes_from_this_service_alone(browser: Browser, server: Server) -> None:
    browser.open(f"{server.url}/docs")
    browser.click(f"{SET} .opblock-summary-control")
    browser.wait_until("document.querySelectorAll('.responses-table .examples-select option').length >= 8")
    browser.screenshot("docs")

    requests = browser.requests()
    assert f"{server.url}/openapi.json" in requests
    assert [url for url in requests if not url.startswith(f"{server.url}/")] == []
    assert browser.complaints() == []
    assert "Store one value under one of the caller's keys." in browser.text()
    assert "-7: fail by key invalid" in browser.text()


def test_all_22_endpoints_are_on_it(browser: Browser, server: Server) -> None:
    browser.open(f"{server.url}/docs")
    browser.find(".opblock")

    paths = [each.get_attribute("data-path") for each in browser.driver.find_elements("css selector", "[data-path]")]
    assert len(set(paths)) == 22
    assert {"/user-data/set", "/user-data/by-wallet/shared-list-get"} <= set(paths)


def test_a_token_can_be_pasted_and_calls_be_tried(browser: Browser, server: Server, stored: Any) -> None:
    browser.open(f"{server.url}/docs")
    browser.click(".auth-wrapper .authorize")
    browser.find(".auth-container input").send_keys(token())
    browser.click(".auth-btn-wrapper .authorize")
    browser.click(".auth-btn-wrapper .btn-done")

    assert '"result": 0' in tried(browser, SET)
    row = stored.get()
    answer = tried(browser, GET)
    browser.screenshot("docs-tried")
    assert '"result": 0' in answer
    assert f'"value_key": "{row.key}"' in answer
    assert f'"value_data": "{row.value}"' in answer


def test_without_a_token_a_call_is_refused(browser: Browser, server: Server, stored: Any) -> None:
    browser.open(f"{server.url}/docs")

    assert '"result": -1' in tried(browser, SET)
    assert not stored.exists()


def tried(browser: Browser, operation: str) -> str:
    """The answer to the example of an operation."""
    browser.click(f"{operation} .opblock-summary-control")
    browser.click(f"{operation} .try-out__btn")
    browser.click(f"{operation} .execute")
    return str(browser.find(f"{operation} .live-responses-table .response-col_description pre").text)
