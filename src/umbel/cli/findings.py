"""What ``umbel migrate check`` has found."""

from __future__ import annotations

import enum
from typing import NamedTuple

__all__ = ["Finding", "Report", "Severity"]


class Severity(enum.IntEnum):
    """How much it matters."""

    NOTE = 1
    """Good to know."""
    WARNING = 2
    """It behaves differently."""
    ERROR = 3
    """It will not work."""

    @property
    def word(self) -> str:
        """As it is written and read."""
        return self.name.lower()


class Finding(NamedTuple):
    """One thing, in one place."""

    file: str
    line: int
    rule: str
    severity: Severity
    message: str
    advice: str


class Report(NamedTuple):
    """All of them, by file and line."""

    findings: tuple[Finding, ...]
    files: int
    """How many files were read."""
    celery: bool
    """Whether anything in them has to do with Celery."""
