"""Exceptions that travel: to a portable Failure where they are raised, and back to an exception where they are read.

On the wire an exception is its class by name and its args. Umbel's own exceptions go under the names that Celery has
for them, so that Celery's clients rebuild theirs, and Celery's come back as ours.
"""

from __future__ import annotations

import functools
import inspect
import sys
import traceback
from typing import Any

from umbel import errors
from umbel.codecs.reprs import safe_repr
from umbel.codecs.serializers import find_unwritable
from umbel.core.outcome import Failure

__all__ = ["MAX_TRACEBACK", "RemoteTraceback", "exception_from_failure", "failure_from_exception"]

MAX_TRACEBACK = 100_000
"""Characters of a traceback that are kept; of a longer one the middle is left out."""

_OURS = "umbel.errors"

# Where Celery's clients look for what we raise under the same name.
_CELERY_MODULES = {
    "MaxRetriesExceededError": "celery.exceptions",
    "TaskRevokedError": "celery.exceptions",
    "NotRegistered": "celery.exceptions",
    "Retry": "celery.exceptions",
    "Ignore": "celery.exceptions",
    "Reject": "celery.exceptions",
    "TaskError": "celery.exceptions",
    "TaskPredicate": "celery.exceptions",
    "TimeoutError": "celery.exceptions",
    "ChordError": "celery.exceptions",
    "SoftTimeLimitExceeded": "billiard.exceptions",
    "TimeLimitExceeded": "billiard.exceptions",
    "WorkerLostError": "billiard.exceptions",
    "EncodeError": "kombu.exceptions",
    "DecodeError": "kombu.exceptions",
    "ContentDisallowed": "kombu.exceptions",
    "OperationalError": "kombu.exceptions",
}
_FOREIGN = frozenset(_CELERY_MODULES.values())


class RemoteTraceback(Exception):
    """The ``__cause__`` of an exception that was raised in a worker: its text is the traceback from there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


# ------------------------------------------------------------------------------------------------- writing


def failure_from_exception(exc: BaseException, *, serializer: str = "json") -> Failure:
    """`exc` in a form that `serializer` can write, with its traceback and those of its causes as text.

    An argument that cannot be written is replaced by its ``repr``. Never raises.

    >>> failure_from_exception(ValueError("no", 42)).exc_message
    ['no', 42]
    """
    cls = type(exc)
    module, name = cls.__module__, cls.__qualname__
    if module == _OURS:
        module = _CELERY_MODULES.get(name, _OURS)
    return Failure(
        exc_type=name,
        exc_module=module,
        exc_message=[
            arg if find_unwritable(arg, serializer) is None else safe_repr(arg) for arg in _args(exc)
        ],
        traceback=_traceback_text(exc),
    )


def _args(exc: BaseException) -> tuple[Any, ...]:
    """What to make the exception of again. OSError keeps the names of files outside of its args."""
    if isinstance(exc, OSError) and exc.filename is not None and len(exc.args) == 2:
        names = (exc.filename,) if exc.filename2 is None else (exc.filename, None, exc.filename2)
        return (*exc.args, *names)
    return exc.args


def _traceback_text(exc: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(exc))
    except Exception as broken:  # noqa: BLE001 - user code runs here (properties, __notes__); the failure itself must get through
        text = f"{type(exc).__qualname__}: its traceback cannot be shown: {type(broken).__name__}\n"
    if len(text) <= MAX_TRACEBACK:
        return text
    head, tail = MAX_TRACEBACK // 4, MAX_TRACEBACK * 3 // 4
    return f"{text[:head]}\n... {len(text) - head - tail} characters left out ...\n{text[-tail:]}"


# ------------------------------------------------------------------------------------------------- reading


def exception_from_failure(failure: Failure) -> Exception:
    """The exception that `failure` describes, with the remote traceback as its ``__cause__``.

    It is of the class that was raised when the module of that class has been imported here and the class takes the
    args. A class that does not take them gets a subclass that does, so that ``except`` still finds it; a class that is
    not found, or one outside ``Exception`` (``SystemExit`` raised in a task must not end its caller), becomes a
    ``TaskError`` of the same name. Celery's, billiard's and kombu's become those of ``umbel.errors``.

    A stored failure is data from outside: reading it imports nothing, and calls nothing but exception classes.
    """
    exc = _rebuild(failure)
    if failure.traceback:
        exc.__cause__ = RemoteTraceback(failure.traceback)
    return exc


def _rebuild(failure: Failure) -> Exception:
    cls = _find_class(failure.exc_module, failure.exc_type)
    args = failure.exc_message
    if cls is not None:
        for candidate in (cls, _stand_in(failure.exc_module, failure.exc_type, cls)):  # type: ignore[arg-type]
            try:
                exc = candidate(*args)
                str(exc)
            except Exception:  # noqa: BLE001 - a constructor may refuse with anything; the next candidate is more general
                continue
            if isinstance(exc, Exception):
                return exc
    return _stand_in(failure.exc_module, failure.exc_type, None)(*args)


def _find_class(module_name: str, qualname: str) -> type[Exception] | None:
    if module_name in _FOREIGN or module_name == _OURS:
        # Ours even where Celery is installed: what `except` catches must not depend on that.
        ours = getattr(errors, qualname, None) if qualname in errors.__all__ else None
        if ours is not None:
            return _as_exception_class(ours)
    found: Any = sys.modules.get(module_name)
    for name in qualname.split("."):
        # Statically: a module's own __getattr__ may import others.
        found = inspect.getattr_static(found, name, None)
    return _as_exception_class(found)


def _as_exception_class(found: Any) -> type[Exception] | None:
    return found if isinstance(found, type) and issubclass(found, Exception) else None


@functools.lru_cache(maxsize=256)
def _stand_in(module: str, qualname: str, base: type[Exception] | None) -> type[Exception]:
    """A TaskError with the name of another class, and a kind of `base` if possible; the same one for the same name."""
    if not (qualname and qualname.isprintable() and module.isprintable()):
        module, qualname = "umbel.errors", "TaskError"  # no class can be called that
    body = {"__module__": module, "__qualname__": qualname, "__init__": _keep_args, "__str__": _show_args}
    name = qualname.rpartition(".")[2]
    if base is not None:
        parents: list[type[Exception]] = [base, errors.TaskError]
        try:
            return type(name, tuple(parents), body)
        except Exception:  # noqa: BLE001, S110 - layouts or metaclasses that do not mix, or an __init_subclass__ that refuses
            pass
    return type(name, (errors.TaskError,), body)


def _keep_args(self: BaseException, *args: Any) -> None:
    self.args = args


def _show_args(self: BaseException) -> str:
    return str(self.args[0]) if len(self.args) == 1 else str(self.args) if self.args else ""
