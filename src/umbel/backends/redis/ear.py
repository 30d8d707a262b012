"""A thread's subscription: made, used and left without a round trip more than needed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from umbel.backends.redis.address import Address
from umbel.backends.redis.options import Options
from umbel.backends.redis.wire import Refusal, SyncWire, pack_one

__all__ = ["Ear"]


class Ear:
    """One subscribing connection, used by one thread at a time, again and again."""

    def __init__(self, address: Address, options: Options) -> None:
        """Connects. Raises Lost and Refusal."""
        self._wire = SyncWire(address, options)
        self._timeout = options.socket_timeout
        self._channels: Sequence[str] = ()

    def subscribe(self, channels: Sequence[str]) -> list[tuple[str, bytes]]:
        """From now on nothing that is published there is missed. Returns what was heard meanwhile.

        Raises Lost and Refusal.
        """
        self._channels = channels
        self._wire.settimeout(self._timeout)
        self._wire.post(pack_one(("SUBSCRIBE", *channels)))
        confirmed, heard = 0, []
        while confirmed < len(channels):
            push = self._read(None)
            if push[0] == b"subscribe":
                confirmed += 1
            elif push[0] == b"message":
                heard.append((push[1].decode(), push[2]))
        return heard

    def hear(self, deadline: float | None) -> Iterator[tuple[str, bytes]]:
        """Channel and message, as they come, until the deadline by ``time.monotonic()``. Raises Lost and Refusal."""
        self._wire.settimeout(None)
        while deadline is None or time.monotonic() < deadline:
            try:
                push = self._read(deadline)
            except TimeoutError:
                return
            if push[0] == b"message":
                yield push[1].decode(), push[2]

    def leave(self) -> None:
        """Unsubscribe. The confirmations are read, and skipped, by the next ``subscribe``. Raises Lost."""
        self._wire.settimeout(self._timeout)
        self._wire.post(pack_one(("UNSUBSCRIBE", *self._channels)))

    def close(self) -> None:
        """Let go of the connection."""
        self._wire.close()

    def _read(self, deadline: float | None) -> list[bytes]:
        push = self._wire.read(deadline)
        if isinstance(push, Refusal):
            raise push
        return push if isinstance(push, list) and len(push) >= 3 else [b""]
