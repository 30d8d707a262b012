"""One call of one task, and the single place where its options are merged: app < task < call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

PRIORITY_MIN, PRIORITY_MAX = -100, 100


class Embed(msgspec.Struct, kw_only=True, frozen=True):
    """What a call carries about the calls that follow it: the third element of a protocol 2 body.

    The elements are signatures in Celery's dict form (``task, args, kwargs, options, subtask_type, immutable``).
    ``chain`` is in reverse: the next task is its last element.
    """

    callbacks: list[dict[str, Any]] | None = None
    errbacks: list[dict[str, Any]] | None = None
    chain: list[dict[str, Any]] | None = None
    chord: dict[str, Any] | None = None


class Envelope(msgspec.Struct, frozen=True):
    """Everything that a message says about a call, in Python's terms. The codec turns it into a Frame and back."""

    id: str
    task: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    embed: Embed = Embed()

    queue: str = "celery"
    priority: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    retries: int = 0
    time_limit: float | None = None
    """Hard limit, seconds."""
    soft_time_limit: float | None = None
    ignore_result: bool | None = None

    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    shadow: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    reply_to: str | None = None
    correlation_id: str | None = None
    replaced_task_nesting: int = 0
    stamps: dict[str, Any] = {}
    stamped_headers: list[str] | None = None
    headers: dict[str, Any] = {}
    """Custom headers: whatever the protocol does not name."""


class Options(msgspec.Struct, kw_only=True, frozen=True):
    """The options of a call, each UNSET until some layer sets it. Meanings as in ``Task.apply_async``."""

    countdown: float | None | UnsetType = UNSET
    eta: datetime | None | UnsetType = UNSET
    expires: float | datetime | None | UnsetType = UNSET
    queue: str | None | UnsetType = UNSET
    exchange: str | None | UnsetType = UNSET
    routing_key: str | None | UnsetType = UNSET
    priority: int | None | UnsetType = UNSET
    serializer: str | None | UnsetType = UNSET
    compression: str | None | UnsetType = UNSET
    headers: dict[str, Any] | None | UnsetType = UNSET
    task_id: str | None | UnsetType = UNSET
    ignore_result: bool | None | UnsetType = UNSET
    time_limit: float | None | UnsetType = UNSET
    soft_time_limit: float | None | UnsetType = UNSET
    retry: bool | UnsetType = UNSET
    retry_policy: dict[str, Any] | None | UnsetType = UNSET
    link: Any | UnsetType = UNSET
    link_error: Any | UnsetType = UNSET
    shadow: str | None | UnsetType = UNSET
    argsrepr: str | None | UnsetType = UNSET
    kwargsrepr: str | None | UnsetType = UNSET
    reply_to: str | None | UnsetType = UNSET
    correlation_id: str | None | UnsetType = UNSET
    root_id: str | None | UnsetType = UNSET
    parent_id: str | None | UnsetType = UNSET
    group_id: str | None | UnsetType = UNSET
    group_index: int | None | UnsetType = UNSET
    chain: list[Any] | None | UnsetType = UNSET
    chord: Any | UnsetType = UNSET
    replaced_task_nesting: int | UnsetType = UNSET
    stamped_headers: list[str] | None | UnsetType = UNSET
    stamps: dict[str, Any] | UnsetType = UNSET

    @classmethod
    def merge(cls, *layers: Mapping[str, Any] | None) -> Options:
        """One Options out of layers, the later ones winning. Unknown names raise TypeError.

        >>> Options.merge({"queue": "a", "priority": 1}, {"queue": "b"}).queue
        'b'
        """
        merged: dict[str, Any] = {}
        for layer in layers:
            if layer:
                merged.update(layer)
        return cls(**merged)
