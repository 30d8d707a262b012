"""The transport options of Redis, checked where they are declared."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec

from umbel.core.priority import CELERY_STEPS
from umbel.core.urls import mask_url
from umbel.errors import ConfigurationError

__all__ = ["Options", "read_options"]

# Celery and kombu know these; here they have nothing to do, and a configuration that has them stays valid.
_WITHOUT_EFFECT = frozenset(
    {
        "client_name",
        "fanout_patterns",
        "fanout_prefix",
        "min_other_sentinels",
        "polling_interval",
        "queue_order_strategy",
        "result_chord_ordered",
        "retry_policy",
        "unacked_index_key",
        "unacked_key",
        "unacked_mutex_expire",
        "unacked_mutex_key",
        "unacked_restore_limit",
        "visibility_timeout",
    }
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What ``broker_transport_options`` and ``result_backend_transport_options`` may say.

    Accepted and without effect, because there is nothing to tune: ``visibility_timeout`` (leases are renewed as long as
    a task runs), and Celery's names for keys that we do not use.
    """

    global_keyprefix: str = ""
    """In front of every key, as in Celery."""
    priority_steps: tuple[int, ...] = CELERY_STEPS
    """Celery priorities that have a list of their own. Every client of the broker must agree."""
    sep: str = "\x06\x16"
    """Between the queue's name and the step in the key of a list."""
    socket_timeout: float = 10.0
    """Seconds to wait for an answer before the connection is given up."""
    socket_connect_timeout: float = 4.0
    """Seconds to wait for a connection, handshake included."""
    socket_keepalive: bool = True
    """Let TCP notice, within about a minute, that the other machine is gone."""
    max_connections: int | None = 10
    """Connections that the threads of a process have open at a time to send messages and to look at results; who comes when
    all are in use waits (Celery's ``broker_pool_limit``). None or 0: as many as there are threads."""
    health_check_interval: float = 0.0
    """Accepted; every call has a deadline, so that a dead connection is noticed by its next use."""
    retry_on_timeout: bool = False
    """Accepted; whether to try again is decided by the retry policy of the caller."""
    master_name: str | None = None
    """The name of the master, for ``sentinel://`` URLs."""
    sentinel_kwargs: Mapping[str, Any] = {}
    """How to log in to the sentinels: ``username``, ``password``, ``ssl`` (true: as for the server)."""
    ssl: Mapping[str, Any] | bool | None = None
    """TLS options (Celery's ``broker_use_ssl``); True: TLS with the defaults."""
    schedule_in_store: bool = False
    """Put messages with a later ``eta`` where only Umbel sees them. By default they go to Celery's list, where Celery's
    workers find them too, and the first Umbel node that meets one moves it."""

    @property
    def patience(self) -> float:
        """The longest that one step of a call can take: another caller's attempt to connect, and the two questions after it.
        What follows, its own attempt included, tells ``on_step``."""
        return self.socket_connect_timeout + 2 * self.socket_timeout


_NAMES = tuple(field for field in Options.__struct_fields__)


def read_options(given: Mapping[str, Any], query: Mapping[str, str], url: str) -> Options:
    """The options of a URL's query and of the settings, which win.

    Raises ``ConfigurationError`` for a name that does not exist, with the nearest one that does, and for a value of
    another type.
    """
    merged = {**query, **given}
    known = {}
    for name, value in merged.items():
        if name in _NAMES:
            if value is not None:
                known[name] = value
        elif name not in _WITHOUT_EFFECT:
            near = difflib.get_close_matches(name, [*_NAMES, *_WITHOUT_EFFECT], 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(sorted(_NAMES))}."
            raise ConfigurationError(f"Redis at {mask_url(url)} has no transport option {name!r}. {hint}")
    prefix = known.get("global_keyprefix")
    try:
        options = msgspec.convert(known, Options, strict=False)
    except msgspec.ValidationError as exc:
        raise ConfigurationError(f"A transport option of Redis at {mask_url(url)} is wrong: {exc}.") from exc
    steps = options.priority_steps
    if not steps or list(steps) != sorted({*steps, 0}) or steps[-1] > 9:
        raise ConfigurationError(
            f"priority_steps is {list(steps)}; expected rising numbers that begin with 0, at most 9, as {list(CELERY_STEPS)}."
        )
    if prefix is not None and not isinstance(prefix, str):
        raise ConfigurationError(f"global_keyprefix is {prefix!r}; expected a string.")
    return options
