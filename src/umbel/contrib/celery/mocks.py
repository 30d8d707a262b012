"""``celery.contrib.testing.mocks``: messages for tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

__all__ = ["ContextMock", "TaskMessage", "TaskMessage1", "task_message_from_sig"]


def _message(id: str | None, headers: dict[str, Any], payload: Any) -> Mock:
    message = Mock(name=f"TaskMessage-{id}")
    message.headers = headers
    message.payload = payload
    message.body = json.dumps(payload, default=str)
    message.content_type, message.content_encoding = "application/json", "utf-8"
    return message


def _forms(given: Any) -> Any:
    return [dict(form) for form in given] if isinstance(given, list | tuple) else given


def TaskMessage(
    name: str, id: str | None = None, args: Sequence[Any] = (), kwargs: Any = None, **options: Any
) -> Mock:
    """A message of protocol 2. `options`: callbacks, errbacks, chain, shadow, utc; the rest are headers."""
    links = {key: _forms(options.pop(key, None)) for key in ("callbacks", "errbacks", "chain")}
    options.pop("utc", None)
    headers = {"id": id, "task": name, "shadow": options.pop("shadow", None), **options}
    return _message(id, headers, (args, dict(kwargs or {}), links))


def TaskMessage1(
    name: str, id: str | None = None, args: Sequence[Any] = (), kwargs: Any = None, **options: Any
) -> Mock:
    """A message of protocol 1."""
    links = {key: _forms(options.pop(key, None)) for key in ("callbacks", "errbacks")}
    options.pop("chain", None)
    call = {"task": name, "id": id, "args": args, "kwargs": dict(kwargs or {}), **links, **options}
    return _message(id, {}, call)


def task_message_from_sig(
    app: Any, sig: Any, utc: bool = True, TaskMessage: Callable[..., Mock] = TaskMessage
) -> Mock:
    """The message of a signature."""
    sig.freeze()
    options: Mapping[str, Any] = sig.options
    more = {name: _time(options.get(name), app) for name in ("eta", "expires")}
    if options.get("countdown"):
        more["eta"] = _time(options["countdown"], app)
    more |= {name: options[name] for name in ("task_id", "reply_to") if options.get(name) is not None}
    links = {"callbacks": _linked(options.get("link")), "errbacks": _linked(options.get("link_error"))}
    return TaskMessage(
        sig.task, id=options.get("task_id") or sig.id, args=sig.args, kwargs=sig.kwargs, **links, **more
    )


def _time(given: Any, app: Any) -> str | None:
    if not given:
        return None
    when = app.now() + timedelta(seconds=given) if isinstance(given, int | float) else given
    return when if isinstance(when, str) else str(when.isoformat())


def _linked(given: Any) -> Any:
    return None if not given else [given] if isinstance(given, Mapping) else list(given)


class _ContextMock(Mock):
    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        pass


def ContextMock(*args: Any, **kwargs: Any) -> Mock:
    """A mock for ``with``."""
    return _ContextMock(*args, **kwargs)
