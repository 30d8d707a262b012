"""The options of Umbel that a task of Django's may have: in ``OPTIONS`` for all tasks of a backend, or, from Django 6.1 on,
as keywords of ``@task``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.module_loading import import_string

from umbel.errors import ConfigurationError
from umbel.options import CALL_OPTIONS, TASK_OPTIONS, check_limits, refuse_unknown
from umbel.routing import ADDRESS

__all__ = ["OPTIONS", "attributes", "call_options", "check"]

OPTIONS = TASK_OPTIONS - {*ADDRESS, "priority", "track_started", "store_eager_result"}
"""Queue and priority have words of Django's own, and what a backend must record is not for choice."""
_RETRIES = frozenset({"max_retries", "default_retry_delay", "retry_backoff", "retry_kwargs"})
_EXCEPTIONS = ("autoretry_for", "dont_autoretry_for", "throws")


def check(options: Mapping[str, Any], subject: str) -> None:
    """Raise TypeError for an unknown name, and ConfigurationError for a value that cannot be."""
    refuse_unknown(options, OPTIONS, subject)
    check_limits(options.get("soft_time_limit"), options.get("time_limit"), subject, error=ConfigurationError)
    retries = options.get("max_retries")
    if retries is not None and (not isinstance(retries, int) or isinstance(retries, bool) or retries < 0):
        raise ConfigurationError(
            f"{subject}: max_retries must be a whole number from 0, or None, not {retries!r}."
        )
    for name in _EXCEPTIONS:
        _classes(options.get(name) or (), f"{subject}: {name}")


def attributes(options: Mapping[str, Any]) -> dict[str, Any]:
    """`options` as attributes of a task of Umbel's.

    A task of Django's cannot call ``retry()``: one that says how it is to be retried, and not on what, is retried on every
    ``Exception``.
    """
    found = {name: value for name, value in options.items() if name in OPTIONS}
    for name in _EXCEPTIONS:
        if name in found:
            found[name] = _classes(found[name] or (), name)
    if "autoretry_for" not in found and found.get("max_retries", 1) != 0 and _RETRIES & found.keys():
        found["autoretry_for"] = (Exception,)
    return found


def call_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `options` that a call may have too."""
    return {name: value for name, value in options.items() if name in OPTIONS & CALL_OPTIONS}


def _classes(given: Any, subject: str) -> tuple[type[BaseException], ...]:
    """Exception classes, each given as itself or by its dotted path: settings cannot import everything."""
    if isinstance(given, str | type):
        given = (given,)
    classes = []
    for entry in given:
        try:
            cls = import_string(entry) if isinstance(entry, str) else entry
        except ImportError as exc:
            raise ConfigurationError(f"{subject} names {entry!r}, which cannot be imported: {exc}.") from exc
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise ConfigurationError(
                f"{subject} must hold exception classes or their dotted paths, not {entry!r}."
            )
        classes.append(cls)
    return tuple(classes)
