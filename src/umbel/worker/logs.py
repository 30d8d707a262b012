"""Logging of a worker: its own loggers get a handler; the root logger is the application's, unless it asks."""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec

TASK_LOGGER = "umbel.task"
"""Parent of the loggers that ``get_task_logger`` returns."""

_COLOURS = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[31;1m"}
_RESET = "\033[0m"
_EXTRA = ("event", "task", "task_id", "runtime")


class ProcessName(logging.Filter):
    """Fills in ``processName``: which of the worker's processes speaks."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name_shown = name

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True."""
        record.processName = self.name_shown
        return True


class TextFormatter(logging.Formatter):
    """One line a record, coloured on a terminal."""

    def __init__(self, fmt: str, datefmt: str | None, *, colour: bool) -> None:
        super().__init__(fmt, datefmt)
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        text = super().format(record)
        colour = _COLOURS.get(record.levelname) if self._colour else None
        return f"{colour}{text}{_RESET}" if colour else text


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, process, logger, message, and of tasks their event, name, id, runtime."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname,
            "process": record.processName,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in _EXTRA:
            value = getattr(record, name, None)
            if value is not None:
                fields[name] = value
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(fields, enc_hook=str).decode()


class LogSettings(msgspec.Struct, kw_only=True, frozen=True):
    """How to log."""

    level: str = "WARNING"
    file: str | None = None
    json: bool = False
    format: str = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
    datefmt: str | None = None
    colour: bool | None = None
    hijack_root: bool = False


def set_up(settings: LogSettings) -> ProcessName:
    """Give the ``umbel`` loggers a handler. Returns the filter that names the process, to be renamed after a fork."""
    handler: logging.Handler
    if settings.file:
        handler = logging.FileHandler(settings.file)
    else:
        handler = logging.StreamHandler(sys.stderr)
    name = ProcessName("MainProcess")
    handler.addFilter(name)
    colour = settings.colour if settings.colour is not None else not settings.file and sys.stderr.isatty()
    handler.setFormatter(
        JsonFormatter() if settings.json else TextFormatter(settings.format, settings.datefmt, colour=colour)
    )
    umbel = logging.getLogger("umbel")
    umbel.setLevel(settings.level)
    if settings.hijack_root:
        root = logging.getLogger()
        root.handlers[:] = [handler]
        root.setLevel(settings.level)
        umbel.handlers.clear()
        umbel.propagate = True
    else:
        umbel.handlers[:] = [handler]
        umbel.propagate = False
    return name
