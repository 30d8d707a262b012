"""The node's end of the connection to one child."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import cast

from umbel.worker.crew import Child
from umbel.worker.ipc import FrameBuffer, Report, decode_report


class Line(asyncio.Protocol):
    """Passes on what a child reports, and at last that it has gone."""

    def __init__(
        self, child: Child, heard: Callable[[Child, Iterable[Report]], None], lost: Callable[[Child], None]
    ) -> None:
        self._child = child
        self._heard = heard
        self._lost = lost
        self._frames = FrameBuffer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the child be written to: it may have spoken before create_connection returns."""
        self._child.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass on the reports that `data` completes."""
        self._heard(self._child, [decode_report(payload) for payload in self._frames.feed(data)])

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on the last words, then that there will be no more."""
        self._child.gone = True
        try:
            self.data_received(self._child.last_words())
        finally:
            self._lost(self._child)
