"""What a list shows, as its URL asks: shelf, queue, task, search, page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.http import HttpRequest

from umbel.contrib.django.admin.describe import SHELF_NAMES
from umbel.contrib.django.admin.queue import MOST, NOTHING_KNOWN, SHELVES, Queues, Row, Sight
from umbel.errors import UmbelError
from umbel.ports import Depth, Shelf, Shelved

__all__ = ["MessageList", "ResultList", "selected_messages", "the_message", "these"]

PAGE = 50
_MOST_CHOICES = 30
_MESSAGES, _RESULTS = Sight(messages=True, results=False), Sight(messages=False, results=True)
STATES = ("SUCCESS", "FAILURE", "RETRY", "REVOKED", "STARTED")


class Choice(NamedTuple):
    """One line of a filter."""

    label: Any
    url: str
    selected: bool


class Page(NamedTuple):
    """A number below the list."""

    number: int
    url: str
    current: bool


class MessageList:
    """The messages of one shelf that match."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.given = {name: given[name] for name in ("shelf", "queue", "task", "q") if given.get(name)}
        shelf = self.given.get("shelf", "waiting")
        self.shelf: Shelf = shelf if shelf in SHELVES else "waiting"
        self.queue = self.given.get("queue", "")
        self.task = self.given.get("task", "")
        self.search = self.given.get("q", "").strip()
        self.number = _page_number(given.get("p", ""))
        self.messages: Sequence[Shelved] = ()
        self.total = 0
        """How many there are on the shelf (of the queue)."""
        self.matching: int | None = None
        """How many of the first ``most`` match; None: nothing is looked for."""
        self.depths: Mapping[str, Depth] = {}
        self.tasks: list[str] = []
        self.exact: str | None = None
        """What was looked for is the id of this call."""
        self.problem = ""
        self.most = MOST

    @classmethod
    def of(cls, request: HttpRequest, may_see: Sight) -> MessageList:
        """What `request` asks for. When the broker is out of reach, ``problem`` says so."""
        found = cls(request.GET)
        try:
            found._look(Queues(), may_see)
        except UmbelError as exc:
            found.problem = str(exc)
        return found

    def _look(self, queues: Queues, may_see: Sight) -> None:
        if self.search and queues.known(self.search, may_see) != NOTHING_KNOWN:
            self.exact = self.search
            return
        self.depths = queues.depths()
        counted = [d for name, d in self.depths.items() if not self.queue or name == self.queue]
        self.total = sum(getattr(depth, self.shelf) for depth in counted)
        known = {name for name in queues.app.tasks if not name.startswith("celery.")}
        end = self.number * PAGE
        narrowed = bool(self.task or self.search)
        found = queues.browse(self.shelf, [self.queue] if self.queue else [], MOST if narrowed else end)
        if narrowed:
            found = [message for message in found if self._matches(message)]
            self.matching = len(found)
        self.messages = found[end - PAGE : end]
        self.tasks = sorted(known | {message.task for message in found if message.task})[:_MOST_CHOICES]

    def _matches(self, message: Shelved) -> bool:
        if self.task and message.task != self.task:
            return False
        return not self.search or message.task_id.startswith(self.search) or self.search in message.task

    # -- for the template

    def _url(self, **changes: str) -> str:
        query = {name: value for name, value in {**self.given, **changes}.items() if value}
        return "?" + urlencode(query)

    @property
    def filters(self) -> list[tuple[Any, list[Choice]]]:
        """Filters by name."""
        sums = {shelf: sum(getattr(depth, shelf) for depth in self.depths.values()) for shelf in SHELVES}
        shelves = [
            Choice(f"{SHELF_NAMES[s]} ({sums[s]})", self._url(shelf=s, p=""), s == self.shelf)
            for s in SHELVES
        ]
        return [
            ("shelf", shelves),
            ("queue", self._choices("queue", sorted(self.depths)[:_MOST_CHOICES], self.queue)),
            ("task", self._choices("task", self.tasks, self.task)),
        ]

    def _choices(self, name: str, values: Sequence[str], chosen: str) -> list[Choice]:
        every = Choice(None, self._url(**{name: "", "p": ""}), not chosen)
        named = [value for value in values if value]
        if chosen and chosen not in named:
            named.append(chosen)
        return [every, *(Choice(v, self._url(**{name: v, "p": ""}), v == chosen) for v in named)]

    @property
    def pages(self) -> list[Page]:
        """Links to the pages, if there are several."""
        count = min(self.total if self.matching is None else self.matching, MOST)
        return _pages(count, self.number, lambda number: self._url(p=str(number)))

    @property
    def cut(self) -> bool:
        """More lie there than can be looked through."""
        return self.total > MOST


class ResultList:
    """The latest results that match."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.given = {name: given[name] for name in ("state", "task", "q") if given.get(name)}
        self.state, self.task = self.given.get("state", ""), self.given.get("task", "")
        self.search = self.given.get("q", "").strip()
        self.number = _page_number(given.get("p", ""))
        self.rows: Sequence[Row] = ()
        self.matching = 0
        self.exact: str | None = None
        self.listed = True
        """The store can list results; otherwise they are found by id only."""
        self.problem = ""
        self.most = MOST

    @classmethod
    def of(cls, request: HttpRequest) -> ResultList:
        """What `request` asks for. When the store is out of reach, ``problem`` says so."""
        found = cls(request.GET)
        try:
            found._look(Queues())
        except UmbelError as exc:
            found.problem = str(exc)
        return found

    def _look(self, queues: Queues) -> None:
        if self.search and queues.known(self.search, _RESULTS).result is not None:
            self.exact = self.search
            return
        rows = queues.results(MOST)
        self.listed = rows is not None
        found = [row for row in rows or () if self._matches(row)]
        self.matching = len(found)
        self.rows = found[(self.number - 1) * PAGE : self.number * PAGE]

    def _matches(self, row: Row) -> bool:
        meta = row.meta
        if self.state and (meta is None or meta.status != self.state):
            return False
        if not self.search:
            return True
        return row.task_id.startswith(self.search) or bool(meta and meta.name and self.search in meta.name)

    def _url(self, **changes: str) -> str:
        return "?" + urlencode({n: v for n, v in {**self.given, **changes}.items() if v})

    @property
    def filters(self) -> list[tuple[Any, list[Choice]]]:
        """Filters by name."""
        every = Choice(None, self._url(state="", p=""), not self.state)
        return [("state", [every, *(Choice(s, self._url(state=s, p=""), s == self.state) for s in STATES)])]

    @property
    def pages(self) -> list[Page]:
        """Links to the pages, if there are several."""
        return _pages(self.matching, self.number, lambda number: self._url(p=str(number)))


def _page_number(text: str) -> int:
    return min(max(int(text), 1), MOST // PAGE) if text.isdecimal() and len(text) < 6 else 1


def _pages(count: int, current: int, url: Any) -> list[Page]:
    last = max((count + PAGE - 1) // PAGE, 1)
    return [Page(n, url(n), n == current) for n in range(1, last + 1)] if last > 1 else []


def selected_messages(request: HttpRequest, shelf: Shelf) -> list[Shelved]:
    """The messages that were selected in a list, or all that match its filters, sought where the list has found them: among the
    first ones of its queue. Of a shelf whose messages have keys, those that newer ones have moved farther back come too, as
    far as they are known: by their keys.
    """
    given = request.POST
    wanted = MessageList({name: str(given.get(name, "")) for name in ("shelf", "queue", "task", "q")})
    chosen = {*given.getlist("selected"), *_confirmed(given.get("these", "[]"))}
    if not chosen and not given.get("across"):
        return []
    found = Queues().browse(shelf, [wanted.queue] if wanted.queue else [], MOST)
    if given.get("across"):
        return [message for message in found if wanted._matches(message)]
    there = {message.key or message.task_id: message for message in found}
    seen = [message for value, message in there.items() if value in chosen]
    if shelf not in ("dead", "parked"):
        return seen
    return seen + [
        Shelved(shelf=shelf, queue="", task_id="", task="", key=key) for key in sorted(chosen - there.keys())
    ]


def these(chosen: Sequence[Shelved]) -> str:
    """The messages that somebody is asked about, for the one field in which the answer brings them back: Django takes no
    form of more than a thousand fields."""
    return json.dumps([message.key for message in chosen])


def _confirmed(field: str) -> list[str]:
    try:
        keys = json.loads(field)
    except ValueError:
        return []
    return [key for key in keys if isinstance(key, str)][:MOST] if isinstance(keys, list) else []


def the_message(request: HttpRequest, shelf: Shelf, task_id: str) -> list[Shelved]:
    """The message that a task's page is about, if it is still on `shelf`."""
    key = request.POST.get("selected", "") if shelf in ("dead", "parked") else ""
    message = Queues().known("" if task_id == "-" else task_id, _MESSAGES, shelf=shelf, key=key).message
    return [message] if message is not None and message.shelf == shelf else []
