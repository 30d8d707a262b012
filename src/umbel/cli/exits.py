"""What the exit codes mean, and how an error becomes one sentence and one of them."""

from __future__ import annotations

import os
import sys
import traceback
from typing import IO, Any, NoReturn

import click

from umbel.errors import CallError, ConfigurationError, MessageError, OperationalError, UmbelError

__all__ = [
    "ABSENT",
    "FAILED",
    "INTERRUPTED",
    "OK",
    "UNREACHABLE",
    "USAGE",
    "Stop",
    "fail",
    "stop_for",
]

OK = 0
FAILED = 1
USAGE = 2
ABSENT = 3
UNREACHABLE = 4
INTERRUPTED = 130

MEANINGS = {
    OK: "done",
    FAILED: "failed: the task failed, the worker gave up, a question was answered with no",
    USAGE: "wrong use: an option, the app, a setting, an argument",
    ABSENT: "not there: no result yet, an unknown id, no worker alive, nothing matched",
    UNREACHABLE: "the broker or the result store cannot be reached",
    INTERRUPTED: "interrupted",
}
"""For ``umbel --help``."""


class Stop(click.ClickException):
    """End the command: `message` goes to standard error, and the process exits with `code`."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message, with the traceback of what caused it when UMBEL_DEBUG is set."""
        if os.environ.get("UMBEL_DEBUG") and self.__cause__ is not None:
            traceback.print_exception(self.__cause__, file=file or sys.stderr)
        click.echo(f"{click.style('Error:', fg='red')} {self.message}", file=file, err=file is None)


def fail(message: str, code: int = FAILED) -> NoReturn:
    """End the command with `message` and `code`."""
    raise Stop(message, code)


def stop_for(error: UmbelError) -> Stop:
    """The end of a command that ran into `error`."""
    if isinstance(error, OperationalError):
        code = UNREACHABLE
    elif isinstance(error, ConfigurationError | CallError | MessageError):
        code = USAGE
    else:
        code = FAILED
    stop = Stop(str(error) or type(error).__name__, code)
    stop.__cause__ = error
    return stop
