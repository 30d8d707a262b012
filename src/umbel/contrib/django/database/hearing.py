"""How the commits of others are noticed, in each kind of database."""

from __future__ import annotations

import time
from pathlib import Path

from umbel.backends._common_file_watch import FileWatch
from umbel.backends._sql.ear import ANYTHING, News, Topic
from umbel.contrib.django.database.own import OwnConnection

__all__ = ["FileHearing", "PollHearing"]


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
