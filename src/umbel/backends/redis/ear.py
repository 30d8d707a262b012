"""A thread's subscription: made, used and left without a round trip more than needed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import hiredis

from umbel.backends.redis.address import Address
from umbel.backends.redis.options import Options
from umbel.backends.redis.wire import Refusal, SyncWire, pack_one

__all__ = ["Ear", "Heard"]


class Heard(NamedTuple):
    """What is known when a subscription stands."""

    published: list[tuple[str, bytes]]
    """Channel and message, of what was published meanwhile."""
    stored: list[bytes | None]
    """The values of the keys that are called like the channels; empty unless the ear ``asks``."""


_LINGER = 50
"""So many channels stay subscribed until the ear is used again; more of them would cost the server memory for nothing."""


class Ear:
    """One subscribing connection, used by one thread at a time, again and again.

    It speaks RESP3 where the server does (Redis 6), in which a subscriber may ask for values too: to subscribe and to
    look what is there already is then one round trip on one connection.
    """

    def __init__(self, address: Address, options: Options) -> None:
        """Connects. Raises Lost and Refusal."""
        self._wire = SyncWire(address, options)
        self._timeout = options.socket_timeout
        self._channels: Sequence[str] = ()
        self.asks = not isinstance(self._wire.call("HELLO", 3), Refusal)
        """``subscribe`` also tells what is stored."""

    def subscribe(self, channels: Sequence[str]) -> Heard:
        """From now on nothing that is published there is missed. Raises Lost and Refusal."""
        left, self._channels = self._channels, channels
        self._wire.settimeout(self._timeout)
        packed = pack_one(("UNSUBSCRIBE", *left)) if left else b""
        packed += pack_one(("SUBSCRIBE", *channels))
        self._wire.post(packed + pack_one(("MGET", *channels)) if self.asks else packed)
        confirmed: set[bytes] = set()
        heard: list[tuple[str, bytes]] = []
        values: list[bytes | None] | None = None if self.asks else []
        while len(confirmed) < len(channels) or values is None:
            answer = self._answer(None)
            if self.asks and not isinstance(answer, hiredis.PushNotification):
                values = answer
            elif answer[0] == b"subscribe":
                confirmed.add(answer[1])
            elif (
                answer[0] == b"message" and answer[1] in confirmed
            ):  # else it is left over from an earlier wait
                heard.append((answer[1].decode(), answer[2]))
        return Heard(heard, values)

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

    def leave(self, *, silent: bool) -> None:
        """The channels are not wanted any more. Raises Lost.

        `silent`: nothing more is going to be published there, so that leaving a few of them can wait for the next
        ``subscribe``, and costs no request of its own. The confirmations are read, and skipped, then.
        """
        if not silent or len(self._channels) > _LINGER:
            self._wire.settimeout(self._timeout)
            self._wire.post(pack_one(("UNSUBSCRIBE", *self._channels)))
            self._channels = ()

    def close(self) -> None:
        """Let go of the connection."""
        self._wire.close()

    def _answer(self, deadline: float | None) -> Any:
        answer = self._wire.read(deadline)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    def _read(self, deadline: float | None) -> list[bytes]:
        push = self._answer(deadline)
        return push if isinstance(push, list) and len(push) >= 3 else [b""]
