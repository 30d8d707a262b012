"""Sets and buffers that do not grow for ever."""

from __future__ import annotations

import heapq
import itertools
import queue
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

__all__ = ["BufferMap", "LimitedSet", "Messagebuffer"]


class LimitedSet:
    """A set of at most `maxlen` items (0: no limit), each for `expires` seconds (0: for ever); `minlen` stay even then."""

    def __init__(self, maxlen: int = 0, expires: float = 0, data: Any = None, minlen: int = 0) -> None:
        self.maxlen, self.minlen, self.expires = maxlen or 0, minlen or 0, expires or 0
        self._stamps: dict[Any, float] = {}
        self._heap: list[tuple[float, int, Any]] = []
        self._order = itertools.count()
        if not 0 <= self.minlen <= self.maxlen:
            raise ValueError("minlen must be a positive number, less or equal to maxlen.")
        if self.expires < 0:
            raise ValueError("expires must not be negative.")
        if data:
            self.update(data)

    def clear(self) -> None:
        """Forget all."""
        self._stamps.clear()
        self._heap.clear()

    def add(self, item: Any, now: float | None = None) -> None:
        """Add an item, or let its time begin anew."""
        stamp = time.monotonic() if now is None else float(now)
        self._stamps.pop(item, None)
        self._stamps[item] = stamp
        heapq.heappush(self._heap, (stamp, next(self._order), item))
        if len(self._heap) > 2 * len(self._stamps) + 16:
            self._heap = [(when, next(self._order), which) for which, when in self._stamps.items()]
            heapq.heapify(self._heap)
        if self.maxlen and len(self._stamps) > self.maxlen:
            self.purge()

    def update(self, other: Any) -> None:
        """Add all items of a set like this, of a dict of items and times, or of anything that can be looped over."""
        if not other:
            return
        stamps = other.as_dict() if isinstance(other, LimitedSet) else other
        if isinstance(stamps, Mapping):
            for item, stamp in stamps.items():
                self.add(item, stamp["inserted"] if isinstance(stamp, Mapping) else stamp)
        else:
            for item in stamps:
                self.add(item)

    def discard(self, item: Any) -> None:
        """Take an item out, if it is there."""
        self._stamps.pop(item, None)

    pop_value = discard

    def _oldest(self) -> tuple[float, int, Any] | None:
        while self._heap and self._stamps.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def purge(self, now: float | None = None) -> None:
        """Forget what is too much or too old."""
        now = time.monotonic() if now is None else now
        while self.maxlen and len(self._stamps) > self.maxlen:
            self.pop()
        while self.expires and len(self._stamps) > self.minlen:
            oldest = self._oldest()
            if oldest is None or oldest[0] + self.expires > now:
                break
            self.pop()

    def pop(self, default: Any = None) -> Any:
        """Take the oldest item out; `default` when there is none."""
        oldest = self._oldest()
        if oldest is None:
            return default
        heapq.heappop(self._heap)
        del self._stamps[oldest[2]]
        return oldest[2]

    def as_dict(self) -> dict[Any, float]:
        """Items and the times at which they were added."""
        return dict(self._stamps)

    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(self._stamps, key=self._stamps.__getitem__))

    def __len__(self) -> int:
        return len(self._stamps)

    def __contains__(self, item: object) -> bool:
        return item in self._stamps

    def __bool__(self) -> bool:
        return bool(self._stamps)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LimitedSet) and self._stamps == other._stamps

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.maxlen, self.expires, self.as_dict(), self.minlen)

    def __repr__(self) -> str:
        limits = f"maxlen={self.maxlen}, expires={self.expires}, minlen={self.minlen}"
        return f"<{type(self).__name__}({len(self)}): {limits}>"


class Messagebuffer:
    """A queue of at most `maxsize` items: the oldest make room."""

    Empty: ClassVar[type[Exception]] = queue.Empty

    def __init__(
        self, maxsize: int | None, iterable: Iterable[Any] | None = None, deque: type[deque[Any]] = deque
    ) -> None:
        self.maxsize = maxsize
        self.data = deque(iterable or ())
        self.evict()

    def put(self, item: Any) -> None:
        """Add an item."""
        self.data.append(item)
        self.evict()

    def extend(self, it: Iterable[Any]) -> None:
        """Add many."""
        self.data.extend(it)
        self.evict()

    def take(self, *default: Any) -> Any:
        """Take the oldest; a default, or Empty, when there is none."""
        if self.data:
            return self.data.popleft()
        if default:
            return default[0]
        raise self.Empty()

    def evict(self) -> None:
        """Keep to `maxsize`."""
        while self.maxsize and len(self.data) > self.maxsize:
            self.data.popleft()

    def __iter__(self) -> Iterator[Any]:
        while self.data:
            yield self.data.popleft()

    def __getitem__(self, index: int) -> Any:
        return self.data[index]

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, item: object) -> bool:
        return item in self.data

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)}/{self.maxsize}>"


class BufferMap(OrderedDict[Any, Messagebuffer]):
    """Queues by key, with at most `maxsize` items in all and `bufmaxsize` in each."""

    Buffer = Messagebuffer
    Empty: ClassVar[type[Exception]] = queue.Empty

    def __init__(self, maxsize: int | None, iterable: Any = None, bufmaxsize: int | None = 1000) -> None:
        super().__init__()
        self.maxsize, self.bufmaxsize = maxsize, bufmaxsize
        for key, value in dict(iterable or ()).items():
            self.put(key, value)

    @property
    def total(self) -> int:
        """How many items there are."""
        return sum(map(len, self.values()))

    def _buffer(self, key: Any) -> Messagebuffer:
        if key not in self:
            self[key] = self.Buffer(self.bufmaxsize)
        self.move_to_end(key)
        return self[key]

    def put(self, key: Any, item: Any) -> None:
        """Add an item for a key."""
        self._buffer(key).put(item)
        self.evict()

    def extend(self, key: Any, it: Iterable[Any]) -> None:
        """Add many."""
        self._buffer(key).extend(it)
        self.evict()

    def take(self, key: Any, *default: Any) -> Any:
        """Take the oldest item of a key; a default, or Empty, when there is none."""
        if key in self:
            self.move_to_end(key)
            return self[key].take(*default)
        if default:
            return default[0]
        raise self.Empty()

    def evict(self) -> None:
        """Keep to `maxsize`: the queues used longest ago give first."""
        while self.maxsize and self.total > self.maxsize:
            key = next(iter(self))
            self[key].take(None)
            if self[key]:
                self.move_to_end(key)
            else:
                del self[key]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.total}/{self.maxsize}>"
