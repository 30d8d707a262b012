"""A mail server for trying things out: it takes every mail, sends none on, and shows them on a page.

    python mailsink.py --smtp-port 1025 --page-port 8025

The page asks for news with ``/messages.json?after=3&wait=25``: the answer comes as soon as there are more than three mails, or
after 25 seconds. Mails are kept in memory, the newest 500 of them.
"""

import argparse
import email
import html
import json
import re
import threading
import time
from dataclasses import asdict, dataclass
from email import policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

MOST = 500


@dataclass
class Mail:
    """One mail, as a mail program shows it. `copies`: how often it came; a Message-ID names one mail."""

    number: int
    message_id: str
    sender: str
    to: str
    subject: str
    body: str
    received: str
    copies: int = 1


class Mailbox:
    """What has been received."""

    def __init__(self) -> None:
        self._mails: dict[str, Mail] = {}
        self._count = 0
        self._news = threading.Condition()

    def add(self, content: bytes) -> None:
        message = email.message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        part = message.get_body(("plain", "html"))
        with self._news:
            name = str(message["Message-ID"] or f"<no-id-{self._count + 1}>")
            if name in self._mails:
                self._mails[name].copies += 1
            else:
                self._count += 1
                self._mails[name] = Mail(
                    self._count,
                    name,
                    str(message["From"] or ""),
                    str(message["To"] or ""),
                    str(message["Subject"] or ""),
                    part.get_content().replace("\r\n", "\n") if part else "",
                    time.strftime("%H:%M:%S"),
                )
                if len(self._mails) > MOST:
                    del self._mails[next(iter(self._mails))]
            self._news.notify_all()

    def mails(self) -> list[Mail]:
        """All of them, the oldest first."""
        with self._news:
            return list(self._mails.values())

    def wait(self, after: int, seconds: float) -> list[Mail]:
        """Those with a number above `after`, as soon as there is one; none when `seconds` have passed."""
        with self._news:
            self._news.wait_for(lambda: self._count > after, seconds)
            return [mail for mail in self._mails.values() if mail.number > after]


class Handler:
    """What the mail server does with a mail."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        self.mailbox.add(content)
        return "250 OK"


STYLE = """
:root { color-scheme: light dark; --text: #1d2521; --soft: #55605a; --page: #fbfaf7; --box: #fff; --line: #d9d8d0; --accent: #1f5f4a }
@media (prefers-color-scheme: dark) { :root { --text: #e8ebe6; --soft: #a9b3ac; --page: #151917; --box: #1e2421; --line: #3a433e; --accent: #86d0b1 } }
body { font: 1rem/1.6 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 1rem 1.25rem 3rem; color: var(--text); background: var(--page) }
h1 { font-size: 1.75rem; line-height: 1.25 } h2 { font-size: 1.125rem; margin: 0 }
article { background: var(--box); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.25rem; margin: 1rem 0 }
p { margin: .25rem 0 } .small { color: var(--soft); font-size: .9375rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; margin: .75rem 0 0 }
a { color: var(--accent) } :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
"""
SCRIPT = """
const list = document.getElementById("mails");
async function follow() {
  for (;;) {
    try {
      const answer = await fetch("/messages.json?wait=25&after=" + list.dataset.newest);
      if ((await answer.json()).length) {
        const page = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html").getElementById("mails");
        list.innerHTML = page.innerHTML;
        list.dataset.newest = page.dataset.newest;
      }
    } catch (error) { await new Promise(again => setTimeout(again, 2000)); }
  }
}
follow();
"""


def page(mails: list[Mail]) -> str:
    """All mails, the newest first."""
    shown = "".join(_article(mail) for mail in reversed(mails)) or '<p class="small">None yet.</p>'
    newest = mails[-1].number if mails else 0
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Mails</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head><body><main><h1>Mails</h1>"
        '<p class="small">What the site has sent. Nothing of it leaves this machine.</p>'
        f'<div id="mails" data-newest="{newest}" aria-live="polite">{shown}</div></main><script>{SCRIPT}</script></body></html>'
    )


def _article(mail: Mail) -> str:
    body = re.sub(r"https?://[^\s<&]+", r'<a href="\g<0>">\g<0></a>', html.escape(mail.body.strip()))
    again = f" · came {mail.copies} times" if mail.copies > 1 else ""
    return (
        f"<article><h2>{html.escape(mail.subject)}</h2>"
        f'<p class="small">{html.escape(mail.sender)} → {html.escape(mail.to)} · {mail.received}{again}</p><pre>{body}</pre></article>'
    )


def page_server(mailbox: Mailbox, port: int) -> ThreadingHTTPServer:
    """The page, on `port`; 0 finds a free one."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path == "/":
                self._answer("text/html; charset=utf-8", page(mailbox.mails()))
            elif address.path == "/messages.json":
                asked = {name: values[-1] for name, values in parse_qs(address.query).items()}
                try:
                    after, wait = int(asked.get("after", 0)), float(asked.get("wait", 0))
                except ValueError:
                    self.send_error(400, "after must be a number of a mail, and wait a number of seconds")
                    return
                news = mailbox.wait(after, min(wait, 60.0))
                self._answer("application/json", json.dumps([asdict(mail) for mail in news]))
            else:
                self.send_error(404)

        def _answer(self, kind: str, text: str) -> None:
            body = text.encode()
            try:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                return  # the reader has closed the page while it waited

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return ThreadingHTTPServer(("127.0.0.1", port), Page)


def main() -> None:
    options = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    options.add_argument("--smtp-port", type=int, default=1025)
    options.add_argument("--page-port", type=int, default=8025)
    chosen = options.parse_args()
    mailbox = Mailbox()
    smtp = Controller(Handler(mailbox), hostname="127.0.0.1", port=chosen.smtp_port)
    smtp.start()
    try:
        with page_server(mailbox, chosen.page_port) as server:
            print(
                f"mails to 127.0.0.1:{chosen.smtp_port} are shown at http://127.0.0.1:{chosen.page_port}/",
                flush=True,
            )
            server.serve_forever()
    except KeyboardInterrupt:
        return
    finally:
        smtp.stop()


if __name__ == "__main__":
    main()
