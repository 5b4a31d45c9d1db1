"""The example page as its user sees it."""

from dataclasses import dataclass

from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tests.browser.chromium import Browser


@dataclass
class NotesPage:
    browser: Browser
    url: str

    def open(self) -> None:
        self.browser.open(f"{self.url}/")
        self.wait_until_done()

    def log_in(self) -> None:
        self.browser.click("#log-in:not([hidden])")

    def wait_until_shown(self) -> None:
        self.browser.wait_until("document.querySelector('#app')?.hidden === false")
        self.wait_until_done()

    def wait_until_done(self) -> None:
        """While the page waits for somebody, its status ends in an ellipsis."""
        self.browser.wait_until(
            "document.querySelector('#welcome')?.hidden !== document.querySelector('#app')?.hidden"
            " && !document.querySelector('#status').textContent.endsWith('…')"
        )

    def is_logged_in(self) -> bool:
        return bool(self.browser.find("#app").is_displayed())

    def user(self) -> str:
        return str(self.browser.find("#who").text)

    def status(self) -> str:
        self.wait_until_done()
        return str(self.browser.find("#status").text)

    def theme(self) -> str:
        return str(self.browser.driver.execute_script("return document.documentElement.dataset.theme"))

    def choose_theme(self, theme: str) -> None:
        Select(self.browser.find("#theme")).select_by_visible_text(theme)
        self.wait_until_done()

    def notes(self) -> list[str]:
        areas = self.browser.driver.find_elements("css selector", "#notes textarea")
        return [str(area.get_property("value")) for area in areas]

    def write(self, text: str) -> None:
        self.browser.find("#new textarea").send_keys(text)
        self.browser.click("#new button")
        self.wait_until_done()

    def rewrite(self, number: int, text: str) -> None:
        area = self.browser.driver.find_elements("css selector", "#notes textarea")[number]
        area.send_keys(Keys.CONTROL + "a")
        area.send_keys(text + Keys.TAB)
        self.wait_until_done()

    def delete(self, number: int) -> None:
        self.browser.driver.find_elements("css selector", "#notes button")[number].click()
        self.wait_until_done()

    def log_out(self) -> None:
        self.browser.click("#log-out")
        self.browser.wait_until("document.querySelector('#welcome')?.hidden === false")
