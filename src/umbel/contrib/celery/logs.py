"""``celery.utils.log`` and ``celery.app.log``: how a program written for Celery sets up its loggers."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from umbel.contrib.celery.local import class_property
from umbel.contrib.celery.utils.nodenames import node_format
from umbel.contrib.celery.utils.term import colored
from umbel.signals import after_setup_logger, after_setup_task_logger, setup_logging
from umbel.worker.logs import TASK_LOGGER, LineLogger
from umbel.worker.logs import TaskFormatter as _Named

__all__ = [
    "LOG_LEVELS",
    "ColorFormatter",
    "Logging",
    "LoggingProxy",
    "TaskFormatter",
    "base_logger",
    "get_multiprocessing_logger",
    "in_sighandler",
    "mlevel",
    "reset_multiprocessing_logger",
    "set_in_sighandler",
    "task_logger",
    "worker_logger",
]

LOG_LEVELS: dict[Any, Any] = logging.getLevelNamesMapping()
LOG_LEVELS.update({number: logging.getLevelName(number) for number in set(LOG_LEVELS.values())})
base_logger = logging.getLogger("celery")
task_logger = logging.getLogger(TASK_LOGGER)
worker_logger = logging.getLogger("umbel.worker")
_COLOURS = {"DEBUG": "blue", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "magenta"}


def mlevel(level: Any) -> Any:
    """The number of a level: of its name or a number."""
    return LOG_LEVELS[level.upper()] if level and not isinstance(level, int) else level


def set_in_sighandler(value: bool) -> None:
    """For Celery's sake: Umbel's handlers of signals log nothing."""


@contextlib.contextmanager
def in_sighandler() -> Iterator[None]:
    """For Celery's sake too."""
    yield


def get_multiprocessing_logger() -> logging.Logger:
    """The logger of multiprocessing."""
    return logging.getLogger("multiprocessing")


def reset_multiprocessing_logger() -> None:
    """For Celery's sake: nothing is left in it by Umbel."""


class ColorFormatter(logging.Formatter):
    """Lines in the colour of their level."""

    def __init__(self, fmt: str | None = None, use_color: bool = True, datefmt: str | None = None) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        text = super().format(record)
        colour = _COLOURS.get(record.levelname) if self.use_color else None
        return str(getattr(colored(enabled=True), colour)(text)) if colour else text


class TaskFormatter(ColorFormatter):
    """The same with ``task_name`` and ``task_id`` of the task that logs."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        _Named.format(_NAMING, record)
        return super().format(record)


_NAMING = _Named("", None, colour=False)


class LoggingProxy(LineLogger):
    """A file whose lines become log records."""

    def __init__(self, logger: logging.Logger, loglevel: Any = None) -> None:
        self.loglevel: int = mlevel(loglevel or logger.level or logging.ERROR)
        super().__init__(logger, self.loglevel)


class Logging:
    """``app.log``. A worker sets up its loggers itself; this is for programs that do it with Celery's words."""

    _setup = False
    already_setup: Any = class_property(lambda cls: Logging._setup, lambda cls, was: _note(was))
    """Whether logging is set up in this process."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.loglevel: Any = logging.WARNING

    # The settings are not read before they are needed.

    @cached_property
    def format(self) -> str:
        """The form of lines."""
        return str(self.app.conf.worker_log_format)

    @cached_property
    def task_format(self) -> str:
        """The form of lines that tasks log."""
        return str(self.app.conf.worker_task_log_format)

    @cached_property
    def colorize(self) -> bool | None:
        """Whether they are coloured; None: on a terminal."""
        colour: bool | None = self.app.conf.worker_log_color
        return colour

    def setup(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        redirect_stdouts: bool = False,
        redirect_level: Any = "WARNING",
        colorize: bool | None = None,
        hostname: str | None = None,
    ) -> Any:
        """Set up logging, once. Returns what the receivers of ``setup_logging`` have said; None when it was done before."""
        told = self.setup_logging_subsystem(loglevel, logfile, colorize=colorize, hostname=hostname)
        if redirect_stdouts and not told:
            self.redirect_stdouts(redirect_level)
        return told

    def setup_logging_subsystem(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        format: str | None = None,
        colorize: bool | None = None,
        hostname: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Give the root logger and that of tasks a handler, unless a receiver of ``setup_logging`` does it all."""
        if self.already_setup:
            return None
        if logfile and hostname and isinstance(logfile, str):
            logfile = node_format(logfile, hostname)
        self.already_setup = True
        loglevel = mlevel(loglevel or self.loglevel)
        format = format or self.format
        colorize = self.supports_color(colorize, logfile)
        told = {"loglevel": loglevel, "logfile": logfile, "format": format, "colorize": colorize}
        if setup_logging.receivers:
            return setup_logging.send(None, **told)
        root = logging.getLogger()
        if self.app.conf.worker_hijack_root_logger:
            root.handlers = []
        self._configure(root, loglevel, logfile, ColorFormatter(format, colorize, kwargs.get("datefmt")))
        after_setup_logger.send(None, logger=root, **told)
        self.setup_task_loggers(loglevel, logfile, colorize=colorize, **kwargs)
        return []

    def setup_task_loggers(
        self,
        loglevel: Any = None,
        logfile: Any = None,
        format: str | None = None,
        colorize: bool | None = None,
        propagate: bool = False,
        **kwargs: Any,
    ) -> logging.Logger:
        """Give the logger of tasks a handler, and return it."""
        loglevel = mlevel(loglevel or self.loglevel)
        format = format or self.task_format
        colorize = self.supports_color(colorize, logfile)
        self._configure(
            task_logger, loglevel, logfile, TaskFormatter(format, colorize, kwargs.get("datefmt"))
        )
        task_logger.propagate = propagate
        told = {"loglevel": loglevel, "logfile": logfile, "format": format, "colorize": colorize}
        after_setup_task_logger.send(None, logger=task_logger, **told)
        return task_logger

    def _configure(self, logger: logging.Logger, level: Any, logfile: Any, form: logging.Formatter) -> None:
        if all(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(_handler(logfile, form))
        logger.setLevel(level)

    def setup_handlers(
        self, logger: logging.Logger, logfile: Any, format: str, colorize: Any, **kwargs: Any
    ) -> logging.Logger:
        """Give a logger a handler, unless it has one. `formatter`: a class other than ColorFormatter."""
        make = kwargs.get("formatter") or ColorFormatter
        if all(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(
                _handler(logfile, make(format, use_color=colorize, datefmt=kwargs.get("datefmt")))
            )
        return logger

    def get_default_logger(self, name: str = "celery", **kwargs: Any) -> logging.Logger:
        """The logger of that name."""
        return logging.getLogger(name)

    def redirect_stdouts(self, loglevel: Any = None, name: str = "celery.redirected") -> None:
        """Let what is printed go to the log."""
        self.redirect_stdouts_to_logger(logging.getLogger(name), loglevel)

    def redirect_stdouts_to_logger(
        self, logger: logging.Logger, loglevel: Any = None, stdout: bool = True, stderr: bool = True
    ) -> LoggingProxy:
        """Let ``sys.stdout`` and ``sys.stderr`` be a ``LoggingProxy``, which is returned."""
        proxy = LoggingProxy(logger, loglevel)
        for name, wanted in (("stdout", stdout), ("stderr", stderr)):
            if wanted:
                setattr(sys, name, proxy)
        return proxy

    def supports_color(self, colorize: bool | None = None, logfile: Any = None) -> bool:
        """Whether lines are coloured: as said, else on a terminal."""
        colorize = self.colorize if colorize is None else colorize
        if colorize is None:
            return not logfile and sys.stderr is not None and sys.stderr.isatty()
        return colorize

    def colored(self, logfile: Any = None, enabled: bool | None = None) -> colored:
        """Text in colours, where ``supports_color()``."""
        return colored(enabled=self.supports_color(enabled, logfile))


def _note(was: bool) -> None:
    Logging._setup = was


def _handler(logfile: Any, form: logging.Formatter) -> logging.Handler:
    handler: logging.Handler
    if logfile is None or hasattr(logfile, "write"):
        handler = logging.StreamHandler(logfile or sys.__stderr__)
    else:
        handler = logging.handlers.WatchedFileHandler(os.fspath(logfile), encoding="utf-8")
    handler.setFormatter(form)
    return handler
