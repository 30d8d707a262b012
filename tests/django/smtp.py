"""A mail server for the tests: it keeps what it accepts, and refuses or breaks off on demand."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

__all__ = ["MailServer", "free_port", "mail_server"]

ACCEPTED = "250 OK"


class MailServer:
    """What it has received, and what it answers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[tuple[list[str], EmailMessage]] = []
        """Recipients and message of each mail, in order."""
        self.connections = 0
        self.answer_recipient: Callable[[str], str] = lambda address: ACCEPTED
        self.answer_data: Callable[[Envelope], str] = lambda envelope: ACCEPTED
        """An answer of '' breaks the connection off, without one."""

    @property
    def subjects(self) -> list[str]:
        """The subjects of all mail received, in order."""
        return [str(message["Subject"]) for _, message in self.received]

    # The names are aiosmtpd's.

    async def handle_EHLO(self, server: Any, session: Session, envelope: Any, hostname: str) -> str:
        self.connections += 1
        session.host_name = hostname
        return "250 HELP"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.answer_recipient(address)
        if answer == ACCEPTED:
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.answer_data(envelope)
        if not answer:
            assert server.transport is not None
            server.transport.abort()
            return "421 gone"
        if answer == ACCEPTED:
            content = envelope.content
            assert isinstance(content, bytes)
            message = message_from_bytes(content, policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.received.append((list(envelope.rcpt_tos), message))
        return answer


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def mail_server(port: int | None = None) -> Iterator[MailServer]:
    """A server that runs for the length of the block."""
    server = MailServer(port or free_port())
    controller = Controller(server, hostname="127.0.0.1", port=server.port)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()
