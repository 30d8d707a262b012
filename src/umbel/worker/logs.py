"""Logging of a worker: its own loggers get a handler; the root logger is the application's, unless it asks."""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import Any, TextIO

import msgspec

from umbel.context import current_request, get_current_task
from umbel.worker.ipc import writable

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


class TaskFormatter(TextFormatter):
    """For what tasks log: fills in ``task_name`` and ``task_id`` of the run that speaks."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        request, task = current_request(), get_current_task()
        record.task_name = "???" if task is None else task.name
        record.task_id = "???" if request is None else request.id
        return super().format(record)


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
        try:
            return msgspec.json.encode(fields, enc_hook=str).decode()
        except UnicodeEncodeError:
            return msgspec.json.encode(writable(fields), enc_hook=str).decode()


class LogSettings(msgspec.Struct, kw_only=True, frozen=True):
    """How to log."""

    level: str = "WARNING"
    file: str | None = None
    json: bool = False
    format: str = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
    task_format: str = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"
    datefmt: str | None = None
    colour: bool | None = None
    hijack_root: bool = False


def set_up(settings: LogSettings) -> ProcessName:
    """Give the ``umbel`` loggers handlers. Returns the filter that names the process, to be renamed after a fork."""
    stream: TextIO = open(settings.file, "a", errors="backslashreplace") if settings.file else sys.stderr  # noqa: SIM115 - open for life
    name = ProcessName("MainProcess")
    colour = settings.colour if settings.colour is not None else not settings.file and stream.isatty()

    def handler(formatter: logging.Formatter) -> logging.Handler:
        made = logging.StreamHandler(stream)
        made.addFilter(name)
        made.setFormatter(JsonFormatter() if settings.json else formatter)
        return made

    general = handler(TextFormatter(settings.format, settings.datefmt, colour=colour))
    of_tasks = handler(TaskFormatter(settings.task_format, settings.datefmt, colour=colour))
    umbel, tasks = logging.getLogger("umbel"), logging.getLogger(TASK_LOGGER)
    umbel.setLevel(settings.level)
    umbel.handlers[:] = [general]
    umbel.propagate = False
    tasks.handlers[:] = [of_tasks]
    tasks.propagate = False
    root = logging.getLogger()
    if settings.hijack_root or not root.handlers:
        # Nobody has configured it: what tasks log by logging.getLogger(__name__) would be lost below WARNING.
        root.handlers[:] = [of_tasks]
        root.setLevel(settings.level)
    return name


class LineLogger(io.TextIOBase):
    """Takes the place of ``sys.stdout``: what is written becomes log records, one a line."""

    def __init__(self, logger: logging.Logger, level: int) -> None:
        super().__init__()
        self._logger = logger
        self._level = level
        self._rest = ""
        self._inside = threading.local()

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str) -> int:
        """Log every line that is complete."""
        if getattr(self._inside, "log", False):
            return len(text)  # logging complains about itself on stderr, which would come back here for ever
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._log(line)
        return len(text)

    def flush(self) -> None:
        """Log what has no end of line yet."""
        rest, self._rest = self._rest, ""
        self._log(rest)

    def _log(self, line: str) -> None:
        if line.strip():
            self._inside.log = True
            try:
                self._logger.log(self._level, line)
            finally:
                self._inside.log = False


def redirect_prints(level: str) -> None:
    """Let what this process prints go to the log, at `level`."""
    logger = logging.getLogger(TASK_LOGGER)
    sys.stdout = LineLogger(logger, logging.getLevelName(level.upper()))
    sys.stderr = LineLogger(logger, logging.getLevelName(level.upper()))
