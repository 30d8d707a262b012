"""MxOnline in one terminal: the site, a worker, and a mail server that shows what it got.

python demo.py            until Ctrl-C; what it stores is kept in data/
python demo.py --check    on free ports, in a temporary folder: register, activate, and end (0: it worked)
"""

import argparse
import ctypes
import http.cookiejar
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path
from types import FrameType

import django
from django.core.management import call_command

HERE = Path(__file__).resolve().parent
ADMIN = "admin@example.com"
START_WITHIN = 60.0
STOP_WITHIN = 15.0


def end_with_the_demo() -> None:
    """Called in a new program: Linux ends it when the demo is killed and can end nobody any more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Program:
    """A program of the demo. It is ready once it has said so."""

    def __init__(self, name: str, *command: str, ready: str) -> None:
        self.name = name
        self._ready_when_said = ready
        self.is_ready = threading.Event()
        # In a session of its own: a Ctrl-C goes to the demo alone, which ends its programs one after the other.
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=end_with_the_demo,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            print(f"{self.name:>6} | {line}", end="", flush=True)
            if self._ready_when_said in line:
                self.is_ready.set()

    def end(self) -> None:
        """Ask it to end, and make sure that it has."""
        self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()


class Demo:
    """The programs, and how they find one another."""

    def __init__(self, site_port: int, smtp_port: int, page_port: int, folder: Path) -> None:
        self.site = f"http://127.0.0.1:{site_port}"
        self.mails = f"http://127.0.0.1:{page_port}"
        self._ports = (site_port, smtp_port, page_port)
        self._programs: list[Program] = []
        os.environ.update(
            DATA_DIR=str(folder),
            SITE_URL=self.site,
            MAIL_PAGE_URL=self.mails,
            EMAIL_HOST="127.0.0.1",
            EMAIL_PORT=str(smtp_port),
            PYTHONUNBUFFERED="1",
            DJANGO_RUNSERVER_HIDE_WARNING="true",
        )
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "MxOnline.settings")

    def prepare(self) -> str:
        """Make the database, with courses and an administrator; returns the new password of that account."""
        django.setup()
        call_command("migrate", verbosity=0)
        call_command("loaddata", "courses", verbosity=0)
        from users.models import User  # noqa: PLC0415  # models can be imported only now

        password = secrets.token_urlsafe(9)
        if (admin := User.objects.filter(email=ADMIN).first()) is None:
            admin = User.objects.create_superuser(ADMIN)
        admin.set_password(password)
        admin.save()
        return password

    def start(self) -> None:
        """Start all programs, and wait until they are ready."""
        site_port, smtp_port, page_port = map(str, self._ports)
        mails = ("mailsink.py", "--smtp-port", smtp_port, "--page-port", page_port)
        self._programs.append(Program("mails", *mails, ready="are shown at"))
        worker = ("manage.py", "umbel", "worker", "-l", "info", "-c", "2")
        self._programs.append(Program("worker", *worker, ready="ready."))
        site = ("manage.py", "runserver", "--noreload", f"127.0.0.1:{site_port}")
        self._programs.append(Program("site", *site, ready="development server at"))
        deadline = time.monotonic() + START_WITHIN
        for program in self._programs:
            while not program.is_ready.wait(0.1):
                self.check_alive()
                if time.monotonic() > deadline:
                    raise SystemExit(
                        f"The {program.name} program is not ready after {START_WITHIN:.0f} s: see its lines above."
                    )

    def check_alive(self) -> None:
        for program in self._programs:
            if (code := program.process.poll()) is not None:
                raise SystemExit(
                    f"The {program.name} program ended by itself, with exit code {code}: see its lines above."
                )

    def stop(self) -> None:
        for program in reversed(self._programs):
            program.end()


class Visitor:
    """A browser without a screen."""

    def __init__(self, site: str) -> None:
        self._site = site
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._open = urllib.request.build_opener(cookies).open

    def get(self, path: str) -> str:
        with self._open(urllib.parse.urljoin(self._site, path), timeout=30) as answer:
            return str(answer.read().decode())

    def submit(self, path: str, **fields: str) -> str:
        """Fill in the form of a page; returns the page that follows."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(path))
        assert token, f"{path} has no form"
        data = urllib.parse.urlencode(fields | {"csrfmiddlewaretoken": token[1]}).encode()
        with self._open(urllib.parse.urljoin(self._site, path), data, timeout=30) as answer:
            return str(answer.read().decode())


def check(demo: Demo) -> None:
    """Register and activate an account as a visitor would. Raises SystemExit when that does not work."""
    visitor, password = Visitor(demo.site), secrets.token_urlsafe(12)
    began = time.monotonic()
    if "Mail sent" not in visitor.submit("/register/", email="ada@example.com", password=password):
        raise SystemExit("The page after the registration does not say that a mail was sent.")
    print(f" check | registered in {(time.monotonic() - began) * 1000:.0f} ms", flush=True)
    with urllib.request.urlopen(f"{demo.mails}/messages.json?after=0&wait=30", timeout=40) as answer:
        mails = json.load(answer)
    link = re.search(r"http\S+/activate/\w+/", mails[0]["body"] if mails else "")
    if link is None:
        raise SystemExit("No mail with a link came within 30 s.")
    print(
        f" check | the mail is there after {(time.monotonic() - began) * 1000:.0f} ms: {mails[0]['subject']}",
        flush=True,
    )
    if "Your account is active" not in visitor.submit(link[0], password=password):
        raise SystemExit("The link in the mail does not activate the account.")
    print(" check | the account is active", flush=True)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def need_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SystemExit(
                f"Something listens on port {port} already. End it, or choose another port with {option}."
            )


def interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(demo: Demo, only_check: bool) -> None:
    password = demo.prepare()
    try:
        demo.start()
        if only_check:
            check(demo)
            return
        print(
            f"\n  The site           {demo.site}/\n  Its mails          {demo.mails}/\n"
            f"  Its administration {demo.site}/admin/   {ADMIN}   {password}\n\n  Ctrl-C ends all.\n",
            flush=True,
        )
        while True:
            time.sleep(0.5)
            demo.check_alive()
    except KeyboardInterrupt:
        print("\nending the site, the worker and the mail server", flush=True)
    finally:
        demo.stop()


def main() -> None:
    options = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    options.add_argument("--port", type=int, default=8000, help="of the site")
    options.add_argument("--smtp-port", type=int, default=1025, help="of the mail server")
    options.add_argument("--page-port", type=int, default=8025, help="of the page that shows the mails")
    options.add_argument(
        "--check", action="store_true", help="try it once, without a terminal or fixed ports, and end"
    )
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    if chosen.check:
        with tempfile.TemporaryDirectory(prefix="mxonline-") as folder:
            site, smtp, page = free_ports(3)
            run(Demo(site, smtp, page, Path(folder)), only_check=True)
        return
    for option in ("--port", "--smtp-port", "--page-port"):
        need_free(getattr(chosen, option[2:].replace("-", "_")), option)
    run(Demo(chosen.port, chosen.smtp_port, chosen.page_port, HERE / "data"), only_check=False)


if __name__ == "__main__":
    main()
