"""``kombu.log``."""

from __future__ import annotations

import logging
from typing import Any

from umbel.contrib.celery.kombu_functional import safe_str

__all__ = ["LOG_LEVELS", "Log", "LogMixin", "get_logger", "get_loglevel", "setup_logging"]

LOG_LEVELS: dict[Any, Any] = {
    **logging.getLevelNamesMapping(),
    **{v: k for k, v in logging.getLevelNamesMapping().items() if k not in ("WARN", "FATAL")},
}


def get_logger(logger: str | logging.Logger) -> logging.Logger:
    """A logger by name, which says nothing unless somebody listens."""
    found = logging.getLogger(logger) if isinstance(logger, str) else logger
    if not found.handlers:
        found.addHandler(logging.NullHandler())
    return found


def get_loglevel(level: int | str) -> int:
    """A level by name."""
    return int(LOG_LEVELS[level]) if isinstance(level, str) else level


class LogMixin:
    """``self.info(...)`` and its like, to a logger called as the class."""

    @property
    def logger_name(self) -> str:
        """The logger's name."""
        return type(self).__name__

    def get_logger(self) -> logging.Logger:
        """The logger."""
        return get_logger(self.logger_name)

    @property
    def logger(self) -> logging.Logger:
        """The logger."""
        return self.get_logger()

    def annotate(self, text: str) -> str:
        """`text` with the name in front."""
        return f"{self.logger_name} - {text}"

    def log(self, severity: int, *args: Any, **kwargs: Any) -> None:
        """Say something."""
        if len(args) > 1 and isinstance(args[0], str):
            self.logger.log(severity, self.annotate(args[0]), *args[1:], **kwargs)
        else:
            self.logger.log(severity, self.annotate(" ".join(map(safe_str, args))), **kwargs)

    def debug(self, *args: Any, **kwargs: Any) -> None:
        """For who looks closely."""
        self.log(logging.DEBUG, *args, **kwargs)

    def info(self, *args: Any, **kwargs: Any) -> None:
        """For who looks."""
        self.log(logging.INFO, *args, **kwargs)

    def warn(self, *args: Any, **kwargs: Any) -> None:
        """Something is not as it should be."""
        self.log(logging.WARNING, *args, **kwargs)

    def error(self, *args: Any, **kwargs: Any) -> None:
        """Something failed; with the traceback."""
        kwargs.setdefault("exc_info", True)
        self.log(logging.ERROR, *args, **kwargs)

    def critical(self, *args: Any, **kwargs: Any) -> None:
        """Everything failed; with the traceback."""
        kwargs.setdefault("exc_info", True)
        self.log(logging.CRITICAL, *args, **kwargs)

    def is_enabled_for(self, level: int | str) -> bool:
        """Whether anybody would hear it."""
        return self.logger.isEnabledFor(get_loglevel(level))

    def get_loglevel(self, level: int | str) -> int:
        """A level by name."""
        return get_loglevel(level)


class Log(LogMixin):
    """The same as an object, with a name or a logger that is given."""

    def __init__(self, name: str, logger: logging.Logger | None = None) -> None:
        self._name, self._logger = name, logger

    @property
    def logger_name(self) -> str:
        """The logger's name."""
        return self._name

    def get_logger(self) -> logging.Logger:
        """The logger."""
        return self._logger or super().get_logger()


def setup_logging(loglevel: int | str | None = None, logfile: Any = None) -> logging.Logger:
    """Let the root logger write to a file (a path or a stream), or to stderr."""
    root = logging.getLogger()
    if not root.handlers:
        handler: logging.Handler
        if isinstance(logfile, str):
            handler = logging.FileHandler(logfile)
        else:
            handler = logging.StreamHandler(logfile)
        root.addHandler(handler)
    root.setLevel(get_loglevel(loglevel or "ERROR"))
    return root
