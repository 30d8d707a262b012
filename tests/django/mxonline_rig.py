"""``examples/mxonline`` as its visitors meet it: site, workers and mail server, on a database and a queue of their own."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

from aiosmtpd.controller import Controller
from tests.django.project import PATIENCE, Program, eventually
from tests.servers import free_port

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "mxonline"
MANAGE = str(EXAMPLE / "manage.py")


def _load_mailsink() -> Any:
    spec = importlib.util.spec_from_file_location("mxonline_mailsink", EXAMPLE / "mailsink.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


mailsink = _load_mailsink()


class Stalling(mailsink.Handler):  # type: ignore[misc]
    """Takes mails, but comes to a halt in its first conversation: "before" it has taken the mail, or "after" it has, and before
    it says so."""

    def __init__(self, mailbox: Any, stage: str) -> None:
        super().__init__(mailbox)
        self._stage = stage
        self.halted = threading.Event()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await self._halt("before")
        answer: str = await super().handle_DATA(server, session, envelope)
        await self._halt("after")
        return answer

    async def _halt(self, stage: str) -> None:
        if stage == self._stage and not self.halted.is_set():
            self.halted.set()
            await asyncio.Event().wait()  # until the connection is lost, which cancels this


class MxOnline:
    """The example, in a folder of its own for what it stores. `stores`: environment that says where database and queue are."""

    def __init__(self, folder: pathlib.Path, stores: dict[str, str]) -> None:
        self.folder = folder
        self.mailbox = mailsink.Mailbox()
        self._port, self._smtp_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("UMBEL_", "DJANGO_", "DATABASE_"))}
        self.env = kept | {
            "DATA_DIR": str(folder / "data"),
            "SITE_URL": self.url,
            "EMAIL_PORT": str(self._smtp_port),
            "PYTHONUNBUFFERED": "1",
            "UMBEL_WORKER_LEASE": "3",  # so long the test of a killed worker waits for its work
            **stores,
        }
        self.manage("migrate", "--verbosity", "0")
        self.manage("loaddata", "courses", "--verbosity", "0")
        self._programs = 0

    def manage(self, *arguments: str) -> str:
        """What ``manage.py`` answers."""
        done = subprocess.run(
            [sys.executable, MANAGE, *arguments],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextlib.contextmanager
    def _program(self, ready: str, *command: str) -> Iterator[Program]:
        self._programs += 1
        log = self.folder / f"program-{self._programs}.log"
        program = Program([sys.executable, MANAGE, *command], self.folder, self.env, log)
        try:
            program.wait_for(ready)
            yield program
        finally:
            program.kill_group()
            print(f"--- {' '.join(command)}\n{program.output()}")

    @contextlib.contextmanager
    def site(self) -> Iterator[Program]:
        command = ("runserver", "--noreload", f"127.0.0.1:{self._port}")
        with self._program("development server at", *command) as program:
            yield program

    @contextlib.contextmanager
    def worker(self, *options: str) -> Iterator[Program]:
        with self._program("ready.", "umbel", "worker", "-l", "info", "-c", "1", *options) as program:
            yield program

    @contextlib.contextmanager
    def mail_server(self, handler: Any = None) -> Iterator[None]:
        """While the block lasts, mails are taken, by `handler` where there is one."""
        controller = Controller(
            handler or mailsink.Handler(self.mailbox), hostname="127.0.0.1", port=self._smtp_port
        )
        controller.start()
        try:
            yield
        finally:
            controller.stop()

    @contextlib.contextmanager
    def silent_mail_server(self) -> Iterator[None]:
        """While the block lasts, connections to the mail server are made, and nobody says anything."""
        with socket.create_server(("127.0.0.1", self._smtp_port)):
            yield

    def mails(self, count: int) -> list[Any]:
        """The first `count` mails, as soon as they are there."""
        eventually(lambda: self.mailbox.wait(count - 1, 1.0), f"{count} mails")
        found: list[Any] = self.mailbox.mails()
        return found

    def unfinished(self) -> list[dict[str, Any]]:
        """The queues in which messages wait, are held, or were set aside."""
        queues: list[dict[str, Any]] = json.loads(self.manage("umbel", "list", "queues", "--json"))
        return [queue for queue in queues if any(value for name, value in queue.items() if name != "queue")]

    def records(self) -> list[dict[str, Any]]:
        """The rows of ``EmailVerifyRecord``."""
        rows = json.loads(self.manage("dumpdata", "users.emailverifyrecord"))
        return [row["fields"] for row in rows]


def link_in(mail: Any) -> str:
    """The address that a mail asks its reader to open."""
    found = re.search(r"http://\S+", mail.body)
    assert found, mail
    return found[0]


class Visitor:
    """A visitor who counts the seconds."""

    def __init__(self, url: str) -> None:
        self._host = urllib.parse.urlsplit(url).netloc
        self._cookies: SimpleCookie = SimpleCookie()

    def _ask(
        self, method: str, path: str, body: str | None = None
    ) -> tuple[http.client.HTTPResponse, str, float]:
        connection = http.client.HTTPConnection(self._host, timeout=PATIENCE)
        headers = {"Cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in self._cookies.items())}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        began = time.perf_counter()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        took = time.perf_counter() - began
        for header in answer.headers.get_all("Set-Cookie", []):
            self._cookies.load(header)
        return answer, text, took

    def get(self, path: str) -> tuple[int, str]:
        answer, text, _ = self._ask("GET", urllib.parse.urlsplit(path).path)
        return answer.status, text

    def submit(self, path: str, **fields: str) -> tuple[str, float]:
        """Fill in the form of a page; returns where that leads ('' when the form comes again), and the seconds it took."""
        path = urllib.parse.urlsplit(path).path
        _, page = self.get(path)
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page)
        assert token, page
        body = urllib.parse.urlencode(fields | {"csrfmiddlewaretoken": token[1]})
        answer, text, took = self._ask("POST", path, body)
        assert answer.status in (200, 302), text
        return answer.headers.get("Location", ""), took
