"""How the commits of others are noticed, in each kind of database."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from umbel.backends._common_file_watch import FileWatch
from umbel.backends._sql.ear import ANYTHING, News, Topic
from umbel.contrib.django.database.own import OwnConnection

__all__ = ["FileHearing", "PollHearing", "ServerHearing"]


class FileHearing:
    """SQLite. The kernel says that the file was written to (a hint, and one that may come a moment *before* the commit can be
    seen); ``PRAGMA data_version`` says that somebody committed (the truth). So a hint is followed by a few looks at the
    truth, at growing distances, and without any hint the truth is still looked at twice a second. Where the kernel gives no
    hints, the truth is looked at every 5 to 50 ms."""

    trusted = 5.0

    AFTER_HINT = 0.00025
    """Seconds to the first look after a hint; each further one waits twice as long …"""
    HINT_LASTS = 0.064
    """… up to this, after which the hint is forgotten."""
    UNHINTED = 0.5
    """Between looks when hints are expected but none came."""
    POLL_MIN, POLL_MAX = 0.005, 0.05
    """Between looks where there are no hints."""
    REST = 0.002
    """At least so long between two tellings: a busy file must not keep idle workers busy."""

    def __init__(self, database: OwnConnection) -> None:
        self.database = database
        self._seen = (-1, -1)
        self._pause = 0.0
        self._told_at = 0.0

    def close(self) -> None:
        self.database.close()

    def wait(self, watch: FileWatch, topics: frozenset[Topic]) -> News | None:
        happened = watch.wait(self._pause)
        changed = self._look(watch)
        self._pause = self._pause_after(watch, happened=happened, changed=changed)
        if not changed:
            return None
        time.sleep(max(0.0, self._told_at + self.REST - time.monotonic()))
        self._told_at = time.monotonic()
        return ANYTHING

    def _look(self, watch: FileWatch) -> bool:
        """Whether somebody committed since the last look."""
        version: int = self.database.plainly(lambda session: session.rows("version")[0][0])
        seen = (self.database.opened, version)
        if seen == self._seen:
            return False
        if seen[0] != self._seen[0]:
            self._watch_files(watch)
        self._seen = seen
        return True

    def _watch_files(self, watch: FileWatch) -> None:
        """The log, where there is one; else the file itself."""
        path = Path(str(self.database.wrapper().settings_dict["NAME"])).resolve()
        log = Path(f"{path}-wal")
        if path.exists():
            watch.watch(log if log.exists() else path)

    def _pause_after(self, watch: FileWatch, *, happened: bool, changed: bool) -> float:
        if not watch.told:
            return self.POLL_MIN if changed else min(max(self._pause, self.POLL_MIN) * 1.5, self.POLL_MAX)
        if happened or changed:
            return self.AFTER_HINT
        return self._pause * 2 if self._pause < self.HINT_LASTS else self.UNHINTED


class ServerHearing:
    """PostgreSQL: LISTEN. Behind a pooler that gives each transaction another session one hears nothing, not even oneself;
    then those who wait look for themselves."""

    HEARS = 5.0
    """Seconds for which those who wait rely on being told."""
    ECHO = 2.0
    """Seconds in which one hears oneself."""
    AGAIN = 20.0
    """Seconds until one tries that again: the connection may be dead, and nothing would say so."""
    DEAF = 0.04
    """Seconds between looks while one hears nothing."""

    def __init__(self, database: OwnConnection) -> None:
        self.database = database
        self.trusted = 0.0
        self._opened = 0
        self._heard: list[str] = []
        self._word = ""
        self._spoke_at = float("-inf")

    def close(self) -> None:
        self.database.close()

    def wait(self, watch: FileWatch, topics: frozenset[Topic]) -> News | None:
        now = time.monotonic()
        if now - self._spoke_at > self.AGAIN:
            self._speak(now)
        if self.database.opened != self._opened:
            self._listen()
            return ANYTHING
        if not self._heard:
            watch.wait(self.HEARS if self.trusted else self.DEAF, self._descriptor())
            self._read()
        news = self._news()
        if not self.trusted:
            return ANYTHING
        if self._word and time.monotonic() - self._spoke_at > self.ECHO:
            self.trusted = 0.0
        return news

    def _speak(self, now: float) -> None:
        self._word, self._spoke_at = uuid.uuid4().hex, now
        self.database.plainly(lambda session: session.rows("echo", word=self._word))

    def _listen(self) -> None:
        """On a new connection."""
        self.trusted, self._heard = 0.0, []
        raw: Any = self.database.wrapper().connection
        if hasattr(raw, "add_notify_handler"):  # psycopg 3 gives what comes with an answer to a handler
            raw.add_notify_handler(lambda notify: self._heard.append(notify.payload))
        self.database.plainly(lambda session: session.run("listen"))
        self._opened = self.database.opened
        self._speak(time.monotonic())

    def _descriptor(self) -> int:
        raw: Any = self.database.wrapper().connection
        return int(raw.fileno())

    def _read(self) -> None:
        """What the server has said since the last statement."""
        raw: Any = self.database.wrapper().connection
        if hasattr(raw, "pgconn"):
            raw.pgconn.consume_input()
            while notify := raw.pgconn.notifies():
                self._heard.append(notify.extra.decode())
        else:  # psycopg2
            raw.poll()
        if hasattr(raw, "notifies") and isinstance(raw.notifies, list):
            self._heard += [notify.payload for notify in raw.notifies]
            raw.notifies.clear()

    def _news(self) -> News | None:
        """What was said, put together."""
        said, self._heard = self._heard, []
        topics: set[Topic] = set()
        queues: set[str] = set()
        task_ids: set[str] | None = set()
        for payload in said:
            kind, about = payload[:1], payload[1:]
            if kind == "m":
                topics.add("messages")
                queues.add(about)
            elif kind == "r":
                topics.add("results")
                task_ids = None if task_ids is None or not about else task_ids | set(about.split("\n"))
            elif kind == "s":
                topics.add("signals")
            elif about == self._word:
                self._word, self.trusted = "", self.HEARS
        if not topics:
            return None
        return News(frozenset(topics), frozenset(queues), None if task_ids is None else frozenset(task_ids))


class PollHearing:
    """Where nobody tells: those who wait look for themselves, every few milliseconds at first, then every 40."""

    trusted = 0.0

    FIRST, LONGEST = 0.005, 0.04
    NOTHING_WANTED = 1.0

    def __init__(self, database: OwnConnection) -> None:
        self.database = database
        self._pause = self.FIRST

    def close(self) -> None:
        self.database.close()

    def wait(self, watch: FileWatch, topics: frozenset[Topic]) -> News | None:
        wanted = topics & {"results", "signals"}  # who waits for messages looks without being told
        if watch.wait(self._pause if wanted else self.NOTHING_WANTED):
            self._pause = self.FIRST
        else:
            self._pause = min(self._pause * 1.5, self.LONGEST)
        return News(frozenset(wanted)) if wanted else None
