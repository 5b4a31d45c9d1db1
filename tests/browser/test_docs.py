"""/docs in a browser: complete, usable, and without any outside host."""

from typing import Any

from tests.conftest import Server
from tests.tokens import token


def test_the_reference_comes_from_this_service_alone(browser: Any, server: Server) -> None:
    browser.open(f"{server.url}/docs")
    browser.click(".opblock-post .opblock-summary-control")
    browser.wait_until("document.querySelectorAll('.responses-table .examples-select option').length >= 8")
    browser.screenshot("docs")

    requests = browser.requests()
    assert f"{server.url}/openapi.json" in requests
    assert [url for url in requests if not url.startswith(f"{server.url}/")] == []
    assert browser.complaints() == []
    assert "/user-data/set" in browser.text()
    assert "Store one value under one of the caller's keys." in browser.text()
    assert "-7: fail by key invalid" in browser.text()


def test_a_call_can_be_tried_on_it(browser: Any, server: Server, stored: Any) -> None:
    browser.open(f"{server.url}/docs")
    browser.find(".opblock-post")
    browser.driver.execute_script("ui.preauthorizeApiKey('accessToken', arguments[0])", token())
    browser.click(".opblock-post .opblock-summary-control")
    browser.click(".try-out__btn")
    browser.click(".execute")
    browser.wait_until("document.querySelector('.live-responses-table .response-col_description pre') !== null")
    browser.screenshot("docs-tried")

    assert '"result": 0' in browser.find(".live-responses-table").text
    assert stored.get().key == "theme"
