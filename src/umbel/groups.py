"""Several results at once: those of a group, which have an id and can be saved and found again, and any others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from umbel import portal, records
from umbel.codecs import serializers
from umbel.context import get_current_app
from umbel.core.outcome import FAILURE, SUCCESS
from umbel.errors import TimeoutError
from umbel.flow.launch import Promise
from umbel.ids import new_id
from umbel.options import WaitOptions, ignore_wait_options
from umbel.ports import GROUP_RECORD, Record
from umbel.result import AsyncResult, assert_may_wait, await_for, lineage_of, tuple_of, wait_for

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["GroupResult", "ResultSet", "result_from_tuple", "result_of"]


class ResultSet:
    """Several results, waited for together. ``app.results([...])`` makes one."""

    _app_of_class: ClassVar[Umbel | None] = None

    def __init__(self, results: Iterable[Any], app: Umbel | None = None) -> None:
        """`results`: AsyncResults, ids, or sets of results. `app`: the current one unless given."""
        self.app = app or self._app_of_class or get_current_app()
        self.results: list[Any] = [AsyncResult(r, app=self.app) if isinstance(r, str) else r for r in results]

    # -- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        callback: Callable[[str, Any], Any] | None = None,
        disable_sync_subtasks: bool = True,
        **ignored: Unpack[WaitOptions],
    ) -> list[Any]:
        """Wait for all of them, once, and return their values in order. The rest: as ``AsyncResult.get``.

        With `propagate` the first failure, in order, is raised when all have ended.
        """
        if ignored:
            ignore_wait_options(ignored)
        if disable_sync_subtasks:
            assert_may_wait()
        wait_for(self.app, self._open(), timeout)
        return self._outcomes(timeout, propagate, callback)

    join = join_native = get

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> list[Any]:
        """``get`` for coroutines."""
        await await_for(self.app, self._open(), timeout)
        return self._outcomes(timeout, propagate, None)

    def _outcomes(
        self, timeout: float | None, propagate: bool, callback: Callable[[str, Any], Any] | None
    ) -> list[Any]:
        return [
            r._outcomes(timeout, propagate, callback)
            if isinstance(r, ResultSet)
            else None
            if r.ignored
            else r._outcome(timeout, propagate, callback)
            for r in self.results
        ]

    def as_completed(
        self, timeout: float | None = None, disable_sync_subtasks: bool = True
    ) -> Iterator[AsyncResult[Any]]:
        """The results one by one, each as soon as its task has ended, well or badly.

        `timeout`: seconds for all of them together; then umbel.errors.TimeoutError is raised.
        """
        if disable_sync_subtasks:
            assert_may_wait()
        waiting: dict[str, list[AsyncResult[Any]]] = {}
        self._refresh()
        for result in self._leaves():
            if result._final is not None or result.ignored:
                yield result
            else:
                waiting.setdefault(result.id, []).append(result)
        with records.Feed(self.app, set(waiting), timeout) as feed:
            for task_id, payload in feed:
                for result in waiting.pop(task_id, ()):
                    result._keep(payload)
                    yield result
        for results in waiting.values():
            raise TimeoutError(results[0]._overdue(timeout))

    def iter_native(
        self, timeout: float | None = None, **ignored: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Celery's form of ``as_completed``: id and ``{"status", "result", ...}`` of each, as they end."""
        for result in self.as_completed(timeout):
            yield result.id, result.as_meta()

    def _leaves(self) -> Iterator[AsyncResult[Any]]:
        """The results of single calls."""
        for result in self.results:
            if isinstance(result, ResultSet):
                yield from result._leaves()
            else:
                yield result

    def _open(self) -> list[AsyncResult[Any]]:
        return [r for r in self._leaves() if r._final is None and not r.ignored]

    def _refresh(self) -> None:
        waiting = {r.id: r for r in self._open()}
        if waiting:
            for task_id, payload in self.app.store.get_now(list(waiting)).items():
                waiting[task_id]._keep(payload)

    def ready(self) -> bool:
        """Whether all have ended."""
        self._refresh()
        return not self._open()

    def successful(self) -> bool:
        """Whether all have ended well."""
        self._refresh()
        return all(r._final is not None and r._final.status == SUCCESS for r in self._leaves())

    def failed(self) -> bool:
        """Whether any has failed."""
        self._refresh()
        return any(r._final is not None and r._final.status == FAILURE for r in self._leaves())

    def completed_count(self) -> int:
        """How many have ended well."""
        self._refresh()
        return sum(r._final is not None and r._final.status == SUCCESS for r in self._leaves())

    def maybe_throw(self, callback: Callable[[str, Any], Any] | None = None, propagate: bool = True) -> None:
        """Raise the first failure that there is. Does not wait."""
        for result in self.results:
            result.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw

    def waiting(self) -> bool:
        """Whether any has not ended."""
        return not self.ready()

    # -- changing the set

    def add(self, result: Any) -> None:
        """Add a result, unless it is in there."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Take a result, or the one with this id, out. Raises KeyError when it is not in there."""
        try:
            self.results.remove(result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """``remove`` that does nothing when it is not in there."""
        if result in self.results:
            self.results.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Add several, unless they are in there."""
        for result in results:
            self.add(result)

    def clear(self) -> None:
        """Take all of them out."""
        self.results.clear()

    # -- acting

    def forget(self) -> None:
        """Delete all records, in one go."""
        portal.run(records.forget(self.app, [r.id for r in self._leaves()]))

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """``AsyncResult.revoke`` for all, in one go."""
        portal.run(records.revoke(self.app, [r.id for r in self._leaves()], terminate, signal))

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Any:
        return self.results[index]

    def __repr__(self) -> str:
        return f"<ResultSet: {', '.join(r.id for r in self._leaves())}>"


class GroupResult(ResultSet):
    """The results of a group's calls, in their order.

    >>> result = group(add.s(1, 2), add.s(3, 4)).delay()  # doctest: +SKIP
    >>> result.get(timeout=10)  # doctest: +SKIP
    [3, 7]
    """

    def __init__(
        self,
        id: str | None = None,
        results: Iterable[Any] | None = None,
        parent: AsyncResult[Any] | GroupResult | None = None,
        *,
        app: Umbel | None = None,
    ) -> None:
        """`results`: AsyncResults, ids, or GroupResults of groups that end a member. `app`: the current one unless given."""
        super().__init__(results or (), app)
        self.id = id or new_id()
        self.parent = parent
        """The result of what was called before it, if any."""

    @classmethod
    def of_app(cls, app: Umbel) -> type[GroupResult]:
        """The class whose groups are those of `app`, where no other is named."""
        return type("GroupResult", (cls,), {"_app_of_class": app, "__doc__": cls.__doc__})

    @property
    def children(self) -> list[Any]:
        """The results themselves."""
        return self.results

    def save(self) -> GroupResult:
        """Keep the group in the result store, for as long as results are kept: ``GroupResult.restore(id)`` finds it again."""
        conf = self.app.conf
        payload = serializers.encode({"result": self.as_tuple()}, conf.result_serializer)[2]
        record = Record(task_id=GROUP_RECORD + self.id, state="", payload=payload, ttl=conf.result_expires)
        portal.run(records.put(self.app, record))
        return self

    def delete(self) -> None:
        """Forget that it was saved. Its results stay."""
        portal.run(records.forget(self.app, [GROUP_RECORD + self.id]))

    @classmethod
    def restore(cls, id: str, app: Umbel | None = None) -> GroupResult | None:
        """The group that was saved under this id; None: there is none, or it has expired."""
        app = app or cls._app_of_class or get_current_app()
        key, conf = GROUP_RECORD + id, app.conf
        payload = app.store.get_now([key]).get(key)
        if payload is None:
            return None
        known = serializers.check_serializer(conf.result_serializer)
        accept = conf.result_accept_content or conf.accept_content
        saved = serializers.decode(payload, known.content_type, known.content_encoding, accept)
        found = result_from_tuple(saved["result"], app)
        return found if isinstance(found, GroupResult) else None

    def as_tuple(self) -> Any:
        """Celery's form: ``((id, parent), members)``."""
        return tuple_of(self)

    def as_list(self) -> list[str]:
        """Its id and those of its parents."""
        return [result.id for result in lineage_of(self)]

    def _as_members(self) -> list[Any]:
        return [result.as_tuple() for result in self.results]

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return (self.id, self.results, self.parent) == (other.id, other.results, other.parent)
        return other == self.id if isinstance(other, str) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return f"{self.id} [{', '.join(map(str, self.results))}]"

    def __repr__(self) -> str:
        return f"<GroupResult: {self.id} [{', '.join(map(str, self.results))}]>"

    def __reduce__(self) -> tuple[Any, ...]:
        return GroupResult, (self.id, self.results, self.parent)


def result_of(promise: Promise, app: Umbel) -> Any:
    """The result that `promise` stands for, with its parents."""
    lineage = [promise]
    while lineage[-1].parent is not None:
        lineage.append(lineage[-1].parent)
    result: Any = None
    for each in reversed(lineage):  # a chain may be longer than the stack is deep
        if each.members is None:
            result = AsyncResult(each.id, app=app, parent=result)
        else:
            members = [result_of(member, app) for member in each.members]
            result = GroupResult(each.id, members, result, app=app)
    return result


def result_from_tuple(form: Any, app: Umbel | None = None) -> Any:
    """The result, or the results of a group, of which ``as_tuple()`` has made `form`. A result stays what it is."""
    if isinstance(form, AsyncResult | GroupResult):
        return form
    app = app or get_current_app()
    lineage = []
    while form is not None:
        own, members = form
        task_id, form = own if isinstance(own, list | tuple) else (own, None)
        lineage.append((task_id, members))
    result: Any = None
    for task_id, members in reversed(lineage):
        if members is None:
            result = AsyncResult(task_id, app=app, parent=result)
        else:
            group = [result_from_tuple(member, app) for member in members]
            result = GroupResult(task_id, group, result, app=app)
    return result
