"""Debian's Chromium for tests, and how one goes from page to page in it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from tests.django.project import PATIENCE


@contextlib.contextmanager
def chromium(language: str = "en") -> Iterator[webdriver.Chrome]:
    """Debian's Chromium without a screen and without a past."""
    folder = tempfile.mkdtemp(prefix="chromium-")
    options = webdriver.ChromeOptions()
    options.binary_location = _installed("chromium")
    for flag in (
        *(
            "headless=new",
            "no-sandbox",
            "disable-gpu",
            "disable-quic",
            "no-first-run",
            "disable-dev-shm-usage",
        ),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        *(f"user-data-dir={folder}", f"accept-lang={language}", "window-size=1100,800"),
    ):
        options.add_argument(f"--{flag}")
    try:
        browser = webdriver.Chrome(options=options, service=Service(_installed("chromedriver")))
        try:
            browser.set_page_load_timeout(PATIENCE)
            yield browser
        finally:
            browser.quit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _installed(program: str) -> str:
    found = shutil.which(program)
    assert found, f"{program} is not installed; as root: apt-get install chromium chromium-driver"
    return found


def click(browser: webdriver.Chrome, element: Any) -> None:
    """Click, and wait for the next page."""
    page = browser.find_element(By.TAG_NAME, "html")
    element.click()
    WebDriverWait(browser, PATIENCE).until(lambda _: _is_gone(page))


def text_of(browser: webdriver.Chrome) -> str:
    """What is to be read on the page; nothing while one page gives way to the next."""
    try:
        return browser.find_element(By.TAG_NAME, "body").text
    except (NoSuchElementException, StaleElementReferenceException):
        return ""


def _is_gone(element: Any) -> bool:
    try:
        element.is_enabled()
    except (NoSuchElementException, StaleElementReferenceException):
        return True
    except WebDriverException as exc:
        if "does not belong to the document" in str(exc):  # asked in the very moment of the change
            return True
        raise
    return False
