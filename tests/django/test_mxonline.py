"""The example site, from the browser to the mailbox, on each kind of queue."""

from __future__ import annotations

import contextlib
import gettext
import itertools
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from tests.django.browser import chromium, click, text_of
from tests.django.mxonline_rig import EXAMPLE, MxOnline, Stalling, Visitor, link_in
from tests.django.project import PATIENCE, Program, eventually
from tests.servers import PostgresServer, RedisServer, free_port

ADA = "ada@example.com"
PASSWORD = "a long enough one"
pytestmark = pytest.mark.timeout(
    300
)  # a browser, a site, a worker and a database share two processors with other tests


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres"), tcp=True) as server:
        yield server


def new_database(server: PostgresServer) -> str:
    """The URL of an empty one."""
    name = f"mxonline{uuid.uuid4().hex}"
    with psycopg.connect(
        host=server.host, port=server.port, user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return f"postgresql://postgres@{server.host}:{server.port}/{name}"


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def mxonline(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[MxOnline]:
    """The example on a database of its own that holds its queue, or on SQLite beside Redis."""
    with contextlib.ExitStack() as stack:
        stores: dict[str, str] = {}
        if request.param == "postgresql":
            stores["DATABASE_URL"] = new_database(request.getfixturevalue("postgres"))
        elif request.param == "redis":
            stores["UMBEL_BROKER_URL"] = stack.enter_context(RedisServer(tmp_path / "redis")).url()
        yield MxOnline(tmp_path, stores)


class Reader:
    """Somebody with a browser."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self._browser = browser
        self._url = url
        self._shots = itertools.count(1)

    def open(self, path: str) -> None:
        self._browser.get(path if path.startswith("http") else self._url + path)
        self._look()

    def fill(self, **fields: str) -> None:
        for name, value in fields.items():
            self._browser.find_element(By.NAME, name).send_keys(value)
        self._press(self._browser.find_element(By.CSS_SELECTOR, "main form button"))

    def press(self, text: str) -> None:
        self._press(self._browser.find_element(By.XPATH, f"//button[normalize-space()='{text}']"))

    def follow(self, text: str) -> None:
        self._press(self._browser.find_element(By.LINK_TEXT, text))

    def _press(self, element: webdriver.remote.webelement.WebElement) -> None:
        click(self._browser, element)
        self._look()

    def sees(self, text: str) -> None:
        eventually(lambda: text in text_of(self._browser), f"{text!r} on the page")

    def _look(self) -> None:
        if folder := os.environ.get("MXONLINE_SHOTS"):
            self._browser.save_screenshot(f"{folder}/{next(self._shots):02}.png")


def test_a_visitor_registers_activates_and_comes_back(mxonline: MxOnline) -> None:
    with mxonline.mail_server(), mxonline.site(), mxonline.worker(), chromium() as browser:
        reader = Reader(browser, mxonline.url)
        reader.open("/")
        reader.sees("Websites with Django")
        reader.follow("Register")
        reader.fill(email=ADA, password=PASSWORD)
        reader.sees("Mail sent, please check")

        (mail,) = mxonline.mails(1)
        assert (mail.to, mail.subject) == (ADA, "Activate your account at MxOnline")
        reader.open(link_in(mail))
        reader.fill(password=PASSWORD)
        reader.sees("Welcome! Your account is active.")
        reader.press("Log out")

        reader.open("/login/")
        reader.follow("Forgot the password?")
        reader.fill(email=ADA)
        reader.sees("Mail sent, please check")
        reader.open(link_in(mxonline.mails(2)[-1]))
        reader.fill(new_password1="quite another one", new_password2="quite another one")
        reader.sees("Your password is changed")
        reader.fill(username=ADA, password="quite another one")

        reader.press("中文")
        reader.follow("个人中心")
        reader.follow("修改")
        reader.fill(email="new@example.com", password="quite another one")
        mail = mxonline.mails(3)[-1]
        assert mail.to == "new@example.com"
        code = re.match(r"(\w{4}) 是您的 MxOnline 验证码", mail.subject)
        assert code, mail
        reader.fill(code=code[1])
        reader.sees("邮箱已修改。")
        reader.sees("new@example.com")
        mail = mxonline.mails(4)[-1]
        assert (mail.to, mail.subject) == (ADA, "您的 MxOnline 账号邮箱已修改")
        assert mxonline.unfinished() == []


_SHAPE = """
return {
    lang: document.documentElement.lang,
    headings: document.querySelectorAll("h1").length,
    landmarks: ["header", "nav", "main", "footer"].filter(name => document.querySelector(name)).length,
    nameless: [...document.querySelectorAll("input:not([type=hidden])")].filter(input => !input.labels.length).length,
    wide: document.documentElement.scrollWidth > window.innerWidth,
    foreign: performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !name.startsWith(location.origin)),
}
"""


@pytest.mark.parametrize("mxonline", ["sqlite"], indirect=True)
def test_pages_fit_a_phone_and_say_what_their_parts_are(mxonline: MxOnline) -> None:
    """On 320 pixels, the width of the smallest telephones and of a screen that is enlarged four times."""
    good = {"headings": 1, "landmarks": 4, "nameless": 0, "wide": False, "foreign": []}
    paths = ("/", "/courses/python-zh/", "/register/", "/login/", "/forget/", "/mail-sent/", "/reset/none/")
    for language, lang in (("en", "en"), ("zh-CN", "zh-hans")):
        with mxonline.site(), chromium(language) as browser:
            size = {"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            reader = Reader(browser, mxonline.url)
            for path in paths:
                reader.open(path)
                assert browser.execute_script(_SHAPE) == good | {"lang": lang}, path


@pytest.mark.parametrize("stage", ["before", "after"])
def test_a_worker_is_killed_while_it_talks_to_the_mail_server(mxonline: MxOnline, stage: str) -> None:
    """In the end there is one mail, whose link works, and nothing is left over. When the mail server had taken the mail before
    the worker died, it gets it again: nobody can know better. It is the same mail then, and a mailbox shows it once."""
    handler = Stalling(mxonline.mailbox, stage)
    with mxonline.mail_server(handler), mxonline.site():
        visitor = Visitor(mxonline.url)
        with mxonline.worker() as worker:
            where, _ = visitor.submit("/register/", email=ADA, password=PASSWORD)
            assert where == "/mail-sent/"
            assert handler.halted.wait(PATIENCE)
            worker.kill_group()
        with mxonline.worker() as worker:
            worker.wait_for("succeeded")
            (mail,) = mxonline.mails(1)
            assert mail.copies == (2 if stage == "after" else 1)
            where, _ = visitor.submit(link_in(mail), password=PASSWORD)
            assert where == "/"
            (record,) = mxonline.records()
            assert record["used"]
            assert record["send_time"]
            eventually(lambda: mxonline.unfinished() == [], "an empty queue")


@contextlib.contextmanager
def outage(mxonline: MxOnline, how: str) -> Iterator[None]:
    """No mail server, or one that lets everybody wait. A worker gives up after half a second; a page that talked to it would
    hang for a minute."""
    mxonline.env["EMAIL_TIMEOUT"] = "60"
    with mxonline.site():
        mxonline.env |= {"EMAIL_TIMEOUT": "0.5", "MAIL_RETRY_BACKOFF": "0.1"}
        with mxonline.silent_mail_server() if how == "silent" else contextlib.nullcontext():
            yield


@pytest.mark.parametrize("how", ["refuses", "silent"])
def test_mails_wait_until_the_mail_server_is_back(mxonline: MxOnline, how: str) -> None:
    """An outage of a minute, in which a worker waits for 1, 2, 4, 8, 16 and 32 s between its tries, is one of six seconds here:
    everything is ten times as quick."""
    addresses = [f"visitor{number}@example.com" for number in range(2)]
    with contextlib.ExitStack() as stack:
        with outage(mxonline, how):
            worker = stack.enter_context(mxonline.worker())
            for address in addresses:
                where, took = Visitor(mxonline.url).submit("/register/", email=address, password=PASSWORD)
                assert where == "/mail-sent/"
                print(f"registered in {took * 1000:.0f} ms, most of which is the hashing of the password")
            worker.wait_for(" retry after ", count=4 * len(addresses))
            assert mxonline.mailbox.mails() == []
        with mxonline.mail_server():
            mails = mxonline.mails(len(addresses))
            assert sorted(mail.to for mail in mails) == addresses
            assert {mail.copies for mail in mails} == {1}
            eventually(lambda: mxonline.unfinished() == [], "an empty queue")


def test_pages_answer_while_the_mail_server_says_nothing(mxonline: MxOnline) -> None:
    """Whoever waited for it, here, would wait for ten minutes. (How many milliseconds a call adds to a page is in
    docs/performance.md.)"""
    mxonline.env["EMAIL_TIMEOUT"] = "600"
    with mxonline.site(), mxonline.silent_mail_server(), mxonline.worker():
        visitor = Visitor(mxonline.url)
        for _ in range(20):
            where, _ = visitor.submit("/forget/", email=ADA)
            assert where == "/mail-sent/"


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_the_mail_server_is_down_for_a_minute(mxonline: MxOnline) -> None:
    """The same, as slow as in life."""
    with mxonline.site(), mxonline.worker() as worker:
        Visitor(mxonline.url).submit("/register/", email=ADA, password=PASSWORD)
        worker.wait_for(" retry after ")
        time.sleep(60.0)  # the outage
        with mxonline.mail_server():
            mxonline.mails(1)
            eventually(lambda: mxonline.unfinished() == [], "an empty queue")


def _demo(*arguments: str, folder: pathlib.Path) -> Program:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("UMBEL_", "DJANGO_", "DATABASE_"))}
    command = [sys.executable, str(EXAMPLE / "demo.py"), *arguments]
    return Program(command, folder, env | {"DATA_DIR": str(folder / "data")}, folder / "demo.log")


def test_the_demo_checks_itself(tmp_path: pathlib.Path) -> None:
    demo = _demo("--check", folder=tmp_path)
    try:
        assert demo.process.wait(PATIENCE) == 0, demo.output()
        assert "the account is active" in demo.output()
    finally:
        demo.kill_group()


def test_the_demo_ends_with_all_its_programs(tmp_path: pathlib.Path) -> None:
    ports = [free_port() for _ in range(3)]
    options = [
        f"--{name}={port}" for name, port in zip(("port", "smtp-port", "page-port"), ports, strict=True)
    ]
    demo = _demo(*options, folder=tmp_path)
    try:
        demo.wait_for("Ctrl-C ends all.")
        second = _demo(*options, folder=tmp_path)
        try:
            assert second.process.wait(PATIENCE) == 1
            assert f"Something listens on port {ports[0]} already" in second.output()
        finally:
            second.kill_group()
        assert demo.stop(signal.SIGINT) == 0, demo.output()
        assert not any(_listens(port) for port in ports)
    finally:
        demo.kill_group()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing ends the children of a killed process")
def test_nothing_is_left_of_a_demo_that_was_killed(tmp_path: pathlib.Path) -> None:
    ports = [free_port() for _ in range(3)]
    demo = _demo(*_options(ports), folder=tmp_path)
    try:
        demo.wait_for("Ctrl-C ends all.")
    finally:
        demo.kill_group()
    eventually(lambda: not any(_listens(port) for port in ports), "free ports")


def _options(ports: list[int]) -> list[str]:
    return [f"--{name}={port}" for name, port in zip(("port", "smtp-port", "page-port"), ports, strict=True)]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_examples_own_tests_pass(tmp_path: pathlib.Path) -> None:
    command = ["-W", "error", str(EXAMPLE / "manage.py"), "test", "--settings", "MxOnline.test_settings"]
    done = subprocess.run(
        [sys.executable, *command, "users", "courses"],
        cwd=EXAMPLE,
        env=os.environ | {"DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_is_translated() -> None:
    """All texts of pages, mails and code are in the Chinese catalogue, and the compiled one is that of the source."""
    folder = EXAMPLE / "locale" / "zh_Hans" / "LC_MESSAGES"
    source = (folder / "django.po").read_text()
    written = dict(
        re.findall(r'^msgid "(.+)"\n(?:msgid_plural .*\n)?msgstr(?:\[0\])? "(.*)"$', source, re.MULTILINE)
    )
    with (folder / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for text, chinese in written.items():
        assert chinese in (compiled.gettext(text), compiled.ngettext(text, text, 1)), text
    assert all(written.values())
    assert _texts() - written.keys() == set()


def _texts() -> set[str]:
    found: set[str] = set()
    for path in (*EXAMPLE.rglob("templates/**/*.html"), *EXAMPLE.rglob("templates/**/*.txt")):
        page = path.read_text()
        found |= {text for _, text in re.findall(r"""\{% translate (["'])(.+?)\1""", page)}
        for text in re.findall(r"\{% blocktranslate.*?%\}(.*?)\{% (?:plural|endblocktranslate)", page):
            found.add(re.sub(r"\{\{ (\w+) \}\}", r"%(\1)s", text))
    for path in EXAMPLE.rglob("*.py"):
        if ".venv" not in path.parts:
            found |= set(re.findall(r'\b_\(\s*"(.+?)"\s*\)', path.read_text()))
    assert len(found) > 60
    return found
