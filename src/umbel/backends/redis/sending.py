"""Outgoing messages as commands and as script arguments."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from umbel.backends.redis.keys import Keys
from umbel.backends.redis.scripts import PUSH, SEND, Script
from umbel.backends.redis.server import Server
from umbel.backends.redis.wire import Arg
from umbel.core.envelope import PRIORITY_MAX, PRIORITY_MIN
from umbel.core.frame import Frame
from umbel.core.kombu_json import dump_frame
from umbel.core.priority import celery_priority
from umbel.ports import Outgoing

__all__ = ["Sender"]

_TAG_BYTES = 12
"""Of randomness in a delivery tag."""


class Sender:
    """Stores messages: with plain LPUSH what Celery could have sent to one queue, with a script what needs more."""

    def __init__(self, server: Server, keys: Keys, *, schedule_in_store: bool) -> None:
        self._server = server
        self._keys = keys
        self._schedule_in_store = schedule_in_store
        self._known: set[str] = set()

    def forget_queues(self) -> None:
        """Name every queue to the server again: it may have lost its memory while we were away."""
        self._known.clear()

    # -- sending

    async def send(self, batch: Sequence[Outgoing], timeout: float | None = None) -> None:
        if timeout is None:
            await self._send(batch)
        else:
            await self._server.within(timeout, lambda: self._send(batch))

    async def _send(self, batch: Sequence[Outgoing]) -> None:
        script, args = self._request(batch)
        if script is not None:
            await self._server.run(script, *self._keys.header, *args)
        elif args:
            await self._server.call(*args)
        self._known.update(out.queue for out in batch)

    def send_now(self, batch: Sequence[Outgoing], timeout: float | None = None) -> None:
        until = None if timeout is None else time.monotonic() + timeout
        if len(batch) == 1 and batch[0].queue in self._known and not self._needs_script(batch[0]):
            out = batch[0]
            self._server.push_now(
                f"{self._keys.prefix}{out.queue}{self._keys.band(out.priority)[0]}", entry(out), until
            )
            return
        script, args = self._request(batch)
        if script is not None:
            self._server.run_now(script, *self._keys.header, *args, until=until)
        elif args:
            self._server.calls_now([args], until)
        self._known.update(out.queue for out in batch)

    def _request(self, batch: Sequence[Outgoing]) -> tuple[Script | None, list[Arg]]:
        """What stores `batch`, all of it or nothing: a script and its arguments, or else a command (empty for no messages)."""
        if any(map(self._needs_script, batch)):
            return SEND, self._script_args(batch)
        lists: dict[str, list[Arg]] = {}
        tags = os.urandom(_TAG_BYTES * len(batch)).hex()
        for at, out in enumerate(batch):
            key = f"{self._keys.prefix}{out.queue}{self._keys.band(out.priority)[0]}"
            tag = tags[at * 2 * _TAG_BYTES : (at + 1) * 2 * _TAG_BYTES]
            lists.setdefault(key, []).append(frame_entry(out.frame, out.queue, out.priority, tag))
        fresh = {out.queue for out in batch} - self._known
        if not fresh and len(lists) <= 1:
            return None, [part for key, entries in lists.items() for part in ("LPUSH", key, *entries)]
        args: list[Arg] = [len(fresh), *fresh]
        for key, entries in lists.items():
            args += (key, len(entries), *entries)
        return PUSH, args

    def _needs_script(self, out: Outgoing) -> bool:
        priority = out.priority
        if priority and priority != self._keys.band(priority)[1]:
            return True
        return out.dedupe_key is not None or self._is_scheduled(out)

    def _is_scheduled(self, out: Outgoing) -> bool:
        """Whether it goes to where only Umbel sees it; what Celery's workers can wait for themselves does not."""
        if out.due_in is None or out.due_in <= 0:
            return False
        return self._schedule_in_store or not out.frame.headers.get("eta")

    def _script_args(self, batch: Sequence[Outgoing]) -> list[Arg]:
        return [
            arg for out in batch for arg in self.sending(out, "due" if self._is_scheduled(out) else "back")
        ]

    # -- also for settlements

    def follow_up(self, out: Outgoing) -> tuple[Arg, ...]:
        """What an ending sends, as the seven arguments of one sending."""
        return self.sending(out, "due" if self._is_scheduled(out) else "back")

    def replacement(self, out: Outgoing, *, home: str, first: bool) -> tuple[Arg, ...]:
        """The next try of a message of the queue `home`.

        It is that message still: a dedupe key, remembered since the first, must not drop it. To wait it goes where only
        Umbel sees it; into another queue, which perhaps only Celery's workers serve, it goes as any message does.
        """
        later = out.due_in is not None and out.due_in > 0 if out.queue == home else self._is_scheduled(out)
        mode, queue, priority, due, _, _, data = self.sending(
            out, "due" if later else "front" if first else "back"
        )
        return mode, queue, priority, due, "", 0, data

    def sending(self, out: Outgoing, mode: str) -> tuple[Arg, ...]:
        """See ``send`` in prelude.lua."""
        return (
            mode,
            out.queue,
            min(max(out.priority, PRIORITY_MIN), PRIORITY_MAX),
            round((out.due_in or 0) * 1000),
            self._keys.dedupe(out.dedupe_key) if out.dedupe_key is not None else "",
            max(round(out.dedupe_window * 1000), 1),
            entry(out),
        )


def entry(out: Outgoing) -> bytes:
    """The message as it lies in Celery's list."""
    return frame_entry(out.frame, out.queue, out.priority)


def frame_entry(frame: Frame, queue: str, priority: int, delivery_tag: str | None = None) -> bytes:
    """`frame` as it lies in a list. `delivery_tag`: a new one unless given."""
    # A Celery worker that gives a message back chooses the list by this property.
    if priority < 0 and "priority" not in frame.properties:
        frame = Frame(
            frame.body,
            frame.content_type,
            frame.content_encoding,
            frame.headers,
            {**frame.properties, "priority": celery_priority(priority)},
        )
    return dump_frame(frame, routing_key=queue, delivery_tag=delivery_tag or os.urandom(_TAG_BYTES).hex())
