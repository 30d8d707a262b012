"""The admin's pages in a real browser: dead letters are found, looked at, put back and deleted, with mouse and keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from tests.django.browser import chromium, click

from umbel import Umbel, portal
from umbel.backends.memory import forget_memory
from umbel.contrib.django.project import get_app
from umbel.ports import Bury

PATIENCE = 30.0


@pytest.fixture
def app() -> Iterator[Umbel]:
    app = get_app()
    with app.conf.overridden(broker_url="memory://browser", result_backend="memory://browser"):
        yield app
        app.close()
        forget_memory("browser")


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    with chromium() as browser:
        yield browser


def bury(app: Umbel, task_id: str, task: str, reason: str) -> None:
    """Let a call of this id be a dead letter."""
    app.send_task(task, (7,), task_id=task_id)

    async def kill() -> None:
        (held,) = await app.broker.reserve(["celery"], limit=1, lease=60, wait=0)
        await app.broker.settle([Bury(receipt=held.receipt, reason=reason)])

    portal.run(kill())


def shelf_of(app: Umbel, task_id: str) -> str | None:
    found = portal.run(app.broker.find(task_id))
    return None if found is None else found.shelf


def said(browser: webdriver.Chrome) -> str:
    """What the admin says at the top of the page."""
    return WebDriverWait(browser, PATIENCE).until(
        lambda browser: browser.find_element(By.CSS_SELECTOR, ".messagelist").text
    )


@pytest.mark.django_db(transaction=True)
def test_dead_letters_in_the_browser(app: Umbel, browser: webdriver.Chrome, live_server: Any) -> None:
    User.objects.create_superuser("ada", password="secret")
    bury(app, "letter-1", "shop.pay", "was killed by SIGSEGV")
    bury(app, "letter-2", "shop.pay", "exceeded its hard time limit of 30 s")
    bury(app, "letter-3", "shop.ship", "rejected")

    browser.get(f"{live_server.url}/admin/")
    browser.find_element(By.NAME, "username").send_keys("ada")
    browser.find_element(By.NAME, "password").send_keys("secret", Keys.ENTER)
    WebDriverWait(browser, PATIENCE).until(lambda browser: browser.find_elements(By.LINK_TEXT, "Messages"))
    click(browser, browser.find_element(By.LINK_TEXT, "Messages"))

    # Filters
    click(browser, browser.find_element(By.LINK_TEXT, "Dead letters (3)"))
    assert "3 messages" in browser.find_element(By.CSS_SELECTOR, ".paginator").text
    click(
        browser,
        browser.find_element(By.CSS_SELECTOR, "[data-filter-title=task]").find_element(
            By.LINK_TEXT, "shop.pay"
        ),
    )
    table = browser.find_element(By.ID, "result_list").text
    assert "letter-1" in table
    assert "letter-3" not in table

    # A task's page
    click(browser, browser.find_element(By.CSS_SELECTOR, "#result_list tbody tr:first-child th a"))
    text = browser.find_element(By.ID, "umbel-task").text
    for expected in ("shop.pay", "was killed by SIGSEGV", "(7,)", "Dead letters"):
        assert expected in text
    click(browser, browser.find_element(By.XPATH, "//button[.='Put back into the queue']"))
    assert said(browser) == "1 message was put back into its queue."
    assert shelf_of(app, "letter-1") == "waiting"

    # With the keyboard, and with a question in between
    browser.get(f"{live_server.url}/admin/umbel/message/?shelf=dead")
    box = browser.find_element(By.CSS_SELECTOR, "input[aria-label='Select shop.ship letter-3']")
    box.send_keys(Keys.SPACE)
    Select(browser.find_element(By.NAME, "action")).select_by_visible_text("Delete")
    click(browser, browser.find_element(By.CSS_SELECTOR, ".actions button"))
    assert "Delete this message for good?" in browser.find_element(By.ID, "content").text
    assert shelf_of(app, "letter-3") == "dead"
    click(browser, browser.find_element(By.CSS_SELECTOR, "#content input[type=submit]"))
    assert said(browser) == "1 message was deleted."
    assert shelf_of(app, "letter-3") is None
    assert shelf_of(app, "letter-2") == "dead"

    # Search
    browser.find_element(By.ID, "searchbar").send_keys("letter-2", Keys.ENTER)
    WebDriverWait(browser, PATIENCE).until(lambda browser: browser.find_elements(By.ID, "umbel-task"))
    assert "hard time limit" in browser.find_element(By.ID, "umbel-task").text
    browser.get(f"{live_server.url}/admin/umbel/message/letter-1/")
    click(browser, browser.find_element(By.CSS_SELECTOR, ".historylink"))
    assert "Put back into the queue (dead)" in browser.find_element(By.ID, "change-history").text

    # On a phone nothing sticks out.
    browser.set_window_size(390, 800)
    browser.get(f"{live_server.url}/admin/umbel/message/letter-2/")
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wide) <= 0
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [entry for entry in errors if "favicon" not in entry["message"]] == []
