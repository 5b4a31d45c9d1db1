"""Headless Chromium, which notes every request and every complaint."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

WAIT_SECONDS = 10


class Browser:
    def __init__(self, chromium: str, chromedriver: str) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in (
            "--headless=new",
            "--window-size=1280,1600",
            # Only pages of our own are opened, and as root or in a container there is no sandbox to be had.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            # No way out of this machine: what a page wants from elsewhere is missing, and noted.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        self.driver = webdriver.Chrome(options, Service(chromedriver))
        self.driver.set_script_timeout(WAIT_SECONDS)

    def open(self, url: str) -> None:
        self.driver.get(url)

    def find(self, selector: str) -> Any:
        """The first element, waited for until it is there."""
        self.wait_until(f"document.querySelector({json.dumps(selector)}) !== null")
        return self.driver.find_element("css selector", selector)

    def click(self, selector: str) -> None:
        """As a script does, so that what floats above an element is not in the way."""
        self.driver.execute_script("arguments[0].click()", self.find(selector))

    def wait_until(self, condition: str) -> None:
        """Wait for a condition in JavaScript."""
        WebDriverWait(self.driver, WAIT_SECONDS).until(
            lambda driver: driver.execute_script(f"return {condition}"), message=condition
        )

    def text(self) -> str:
        return str(self.find("body").text)

    def requests(self) -> list[str]:
        """The URLs asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    def complaints(self) -> list[str]:
        """Warnings and errors on the console since the last call."""
        return [entry["message"] for entry in self._log("browser") if entry["level"] != "INFO"]

    def _log(self, kind: str) -> list[Any]:
        entries: list[Any] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return entries

    def screenshot(self, name: str) -> None:
        """Keep a picture where SCREENSHOTS names a folder, for people to look at."""
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))

    def clear(self) -> None:
        """An empty page, no cookies, and nothing noted yet."""
        self.open("about:blank")
        self.driver.delete_all_cookies()
        self.requests()
        self.complaints()


def is_installed() -> bool:
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


@contextmanager
def running() -> Iterator[Browser]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        raise FileNotFoundError("Chromium is missing: install the packages chromium and chromium-driver.")
    browser = Browser(chromium, chromedriver)
    try:
        yield browser
    finally:
        browser.driver.quit()
