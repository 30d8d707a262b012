"""The node's end of the connection to one child."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import cast

from umbel.worker.crew import Child
from umbel.worker.ipc import FrameBuffer, Heard, decode_report

LISTEN_SECONDS = 0.002
"""A child that has calls waiting behind the running ones is listened to so often, and no more often."""
_LARGE = 1 << 16
"""A child that says so much at once would soon wait for a reader."""


class Line(asyncio.Protocol):
    """Passes on what a child reports, and at last that it has gone.

    A busy child reports every few microseconds, and waking up for each report costs the node more than all it does with
    it. So after each hearing the line is deaf for a moment, as long as the child has enough to do meanwhile. The reports
    wait in the socket, where they outlive the child.
    """

    def __init__(
        self, child: Child, heard: Callable[[Child, Iterable[Heard]], None], lost: Callable[[Child], None]
    ) -> None:
        self._child = child
        self._heard = heard
        self._lost = lost
        self._frames = FrameBuffer()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the child be written to: it may have spoken before create_connection returns."""
        self._child.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass on the reports that `data` completes."""
        self._heard(self._child, [decode_report(payload) for payload in self._frames.feed(data)])
        child = self._child
        if child.backlog() and len(data) < _LARGE and child.transport is not None and not child.gone:
            child.transport.pause_reading()
            self._loop.call_later(LISTEN_SECONDS, self._listen)

    def _listen(self) -> None:
        transport = self._child.transport
        if transport is not None and not transport.is_closing():
            transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the last words, then that there will be no more."""
        self._child.gone = True
        try:
            self.data_received(self._child.last_words())
        finally:
            self._lost(self._child)
