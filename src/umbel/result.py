"""Results: what is known of a call by its id."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

from umbel import portal, records
from umbel.codecs.failures import exception_from_failure
from umbel.codecs.results import decode_result
from umbel.context import get_current_app, joins_allowed
from umbel.core.outcome import (
    FAILURE,
    PENDING,
    PROPAGATE_STATES,
    READY_STATES,
    SUCCESS,
    Failure,
    ResultMeta,
)
from umbel.errors import TimeoutError
from umbel.options import WaitOptions, ignore_wait_options
from umbel.ports import Located

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["AsyncResult", "EagerResult", "ResultSet"]

R_co = TypeVar("R_co", covariant=True)


class AsyncResult(Generic[R_co]):
    """The result of one call, which may be still to come.

    >>> result = add.delay(1, 2)  # doctest: +SKIP
    >>> result.get(timeout=10)  # doctest: +SKIP
    3
    """

    __slots__ = ("__weakref__", "_app", "_final", "id", "ignored", "parent")

    def __init__(
        self,
        id: str,
        *,
        app: Umbel | None = None,
        parent: AsyncResult[Any] | None = None,
        ignored: bool = False,
    ) -> None:
        """`app`: the current one unless given. `ignored`: the call was told to keep no result."""
        if not isinstance(id, str) or not id:
            raise ValueError(f"AsyncResult needs the id of a call, a string, not {id!r}.")
        self.id = id
        self.parent = parent
        self.ignored = ignored
        """No result is kept for this call: ``get()`` returns None at once."""
        self._app = app
        self._final: ResultMeta | None = None

    # -- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
        callback: Callable[[str, R_co], Any] | None = None,
        disable_sync_subtasks: bool = True,
        **ignored: Unpack[WaitOptions],
    ) -> R_co:
        """Wait for the task to end and return its value.

        `timeout`: seconds, None for ever. When the task failed or was revoked its exception is raised, with the worker's
        traceback as its cause; with ``propagate=False`` it is returned. `callback` is called with id and value.
        `interval` and `ignored` (``umbel.options.WaitOptions``) are taken for Celery's sake: the store tells, nothing polls.

        Raises umbel.errors.TimeoutError (a builtin TimeoutError too) when it takes longer; the task goes on. Raises
        NoResultStore when the app keeps no results, and RuntimeError inside a task, where waiting can deadlock,
        unless ``disable_sync_subtasks=False`` or within ``allow_join_result()``.
        """
        if ignored:
            ignore_wait_options(ignored)
        if self.ignored:
            return None  # type: ignore[return-value]
        if disable_sync_subtasks:
            assert_may_wait()
        if self._final is None:
            _wait_for(self.app, [self], timeout)
        return self._outcome(timeout, propagate, callback)

    wait = get

    async def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        callback: Callable[[str, R_co], Any] | None = None,
    ) -> R_co:
        """``get`` for coroutines. Inside a task it does not block a worker's thread, and is allowed."""
        if self.ignored:
            return None  # type: ignore[return-value]
        if self._final is None:
            await _await_for(self.app, [self], timeout)
        return self._outcome(timeout, propagate, callback)

    def _outcome(
        self, timeout: float | None, propagate: bool, callback: Callable[[str, R_co], Any] | None
    ) -> R_co:
        meta = self._final
        if meta is None:
            raise TimeoutError(self._overdue(timeout))
        value = _value(meta)
        if propagate and meta.status in PROPAGATE_STATES:
            raise value
        if callback is not None:
            callback(self.id, value)
        return value  # type: ignore[no-any-return]

    def _overdue(self, timeout: float | None) -> str:
        meta = self._meta()
        if meta.status == PENDING:
            known = (
                "nothing is stored for this id: the call waits to be run, or its result has expired, or nobody ever sent "
                "it (result.known() tells)"
            )
        else:
            known = f"its state is {meta.status}"
        return f"No result of {self.id} within {timeout:g} s; {known}."

    # -- looking

    @property
    def app(self) -> Umbel:
        """The app whose store is asked."""
        return self._app if self._app is not None else get_current_app()

    @property
    def task_id(self) -> str:
        """The same as ``id``."""
        return self.id

    def _meta(self) -> ResultMeta:
        if self._final is not None:
            return self._final
        payload = self.app.store.get_now([self.id]).get(self.id)
        return ResultMeta(task_id=self.id, status=PENDING) if payload is None else self._keep(payload)

    def _keep(self, payload: bytes) -> ResultMeta:
        conf = self.app.conf
        accept = conf.result_accept_content
        meta = decode_result(
            payload, conf.result_serializer, conf.accept_content if accept is None else accept
        )
        if meta.status in READY_STATES:
            self._final = meta
        return meta

    @property
    def state(self) -> str:
        """PENDING (nothing is stored for the id), RECEIVED, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, or one of the task's own."""
        return self._meta().status

    status = state

    @property
    def result(self) -> Any:
        """The value; of a failed task the exception; of a task's own state what came with it. None while there is nothing."""
        return _value(self._meta())

    info = result

    def ready(self) -> bool:
        """Whether the task has ended, well or badly."""
        return self.state in READY_STATES

    def successful(self) -> bool:
        """Whether it has ended well."""
        return self.state == SUCCESS

    def failed(self) -> bool:
        """Whether it has failed."""
        return self.state == FAILURE

    @property
    def traceback(self) -> str | None:
        """The worker's traceback, when it failed."""
        return self._meta().traceback

    @property
    def children(self) -> list[AsyncResult[Any]]:
        """The results of the calls that it made; those of a group one by one."""
        return [child for entry in self._meta().children or () for child in _from_tuple(entry, self.app)]

    @property
    def date_done(self) -> datetime | None:
        """When it ended."""
        text = self._meta().date_done
        return None if text is None else datetime.fromisoformat(text)

    @property
    def name(self) -> str | None:
        """The task's name. This and the following only with the setting result_extended."""
        return self._meta().name

    @property
    def args(self) -> Any:
        """The positional arguments."""
        return self._meta().args

    @property
    def kwargs(self) -> Any:
        """The keyword arguments."""
        return self._meta().kwargs

    @property
    def worker(self) -> str | None:
        """The worker that ran it."""
        return self._meta().worker

    @property
    def retries(self) -> int | None:
        """How many times it was retried."""
        return self._meta().retries

    @property
    def queue(self) -> str | None:
        """The queue that it came from."""
        return self._meta().queue

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, R_co], Any] | None = None) -> Any:
        """Raise the exception of a failed task; the value (or None) otherwise. Does not wait."""
        meta = self._meta()
        value = _value(meta)
        if propagate and meta.status in PROPAGATE_STATES:
            raise value
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    # -- is there such a call at all?

    def exists(self) -> bool:
        """Whether the store has a record for the id."""
        return self._final is not None or self.id in self.app.store.get_now([self.id])

    def locate(self) -> Located | None:
        """Where its message is: "why does it not run?" None when there is none, so it is over or was never sent."""
        return portal.run(records.find(self.app, self.id))

    def known(self) -> bool:
        """Whether anybody has sent a call with this id: it waits, is held, parked or dead, or has a record.

        False for an id that nobody ever sent, and for one whose result has expired or was not kept.
        """
        return (self.app.has_store and self.exists()) or self.locate() is not None

    # -- acting

    def forget(self) -> None:
        """Delete the record."""
        self._final = None
        portal.run(records.forget(self.app, [self.id]))

    def revoke(self, terminate: bool = False, signal: str | int | None = None) -> None:
        """The call must not run: workers throw it away when it reaches them.

        `terminate`: also end it if it runs, by killing its process; `signal` is taken for the sake of Celery.
        """
        portal.run(records.revoke(self.app, [self.id], terminate, signal))

    # -- odds and ends

    def as_tuple(self) -> tuple[tuple[str, Any], None]:
        """Celery's form of a result: ``((id, parent), None)``."""
        return (self.id, None if self.parent is None else self.parent.as_tuple()), None

    def as_list(self) -> list[str]:
        """Its id and those of its parents."""
        return [self.id, *([] if self.parent is None else self.parent.as_list())]

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __eq__(self, other: object) -> bool:
        return (
            other == self.id
            if isinstance(other, str)
            else isinstance(other, AsyncResult) and other.id == self.id
        )

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.id,)


class EagerResult(AsyncResult[R_co]):
    """The result of a call that was run in place."""

    __slots__ = ("_children", "_failure")

    def __init__(
        self,
        id: str,
        result: Any,
        state: str,
        *,
        name: str | None = None,
        app: Umbel | None = None,
        traceback: str | None = None,
        children: Sequence[AsyncResult[Any]] = (),
    ) -> None:
        super().__init__(id, app=app)
        self._final = ResultMeta(task_id=id, status=state, result=result, traceback=traceback, name=name)
        self._children = list(children)

    @property
    def children(self) -> list[AsyncResult[Any]]:
        """The results of the calls that it made."""
        return list(self._children)

    def exists(self) -> bool:
        """True: it has been run."""
        return True

    def known(self) -> bool:
        """True: it has been run."""
        return True

    def locate(self) -> None:
        """None: no message was sent."""

    def forget(self) -> None:
        """There is nothing to delete."""

    def revoke(self, terminate: bool = False, signal: str | int | None = None) -> None:
        """It is over: nothing is left to revoke."""

    def __reduce__(self) -> tuple[Any, ...]:
        meta = self._final
        assert meta is not None
        return type(self), (self.id, meta.result, meta.status)


class ResultSet:
    """Several results, waited for together. Made by ``app.results([...])``."""

    def __init__(self, results: Iterable[AsyncResult[Any] | str], app: Umbel) -> None:
        self.app = app
        self.results = [AsyncResult(r, app=app) if isinstance(r, str) else r for r in results]

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float | None = None,
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
        _wait_for(self.app, self._open(), timeout)
        return [r._outcome(timeout, propagate, None) if not r.ignored else None for r in self.results]

    join = get

    async def aget(self, timeout: float | None = None, propagate: bool = True) -> list[Any]:
        """``get`` for coroutines."""
        await _await_for(self.app, self._open(), timeout)
        return [r._outcome(timeout, propagate, None) if not r.ignored else None for r in self.results]

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
        for result in self.results:
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

    def _open(self) -> list[AsyncResult[Any]]:
        return [r for r in self.results if r._final is None and not r.ignored]

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
        return all(r._final is not None and r._final.status == SUCCESS for r in self.results)

    def failed(self) -> bool:
        """Whether any has failed."""
        self._refresh()
        return any(r._final is not None and r._final.status == FAILURE for r in self.results)

    def completed_count(self) -> int:
        """How many have ended well."""
        self._refresh()
        return sum(r._final is not None and r._final.status == SUCCESS for r in self.results)

    def forget(self) -> None:
        """Delete all records, in one go."""
        portal.run(records.forget(self.app, [r.id for r in self.results]))

    def revoke(self, terminate: bool = False, signal: str | int | None = None) -> None:
        """``AsyncResult.revoke`` for all, in one go."""
        portal.run(records.revoke(self.app, [r.id for r in self.results], terminate, signal))

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[AsyncResult[Any]]:
        return iter(self.results)

    def __getitem__(self, index: int) -> AsyncResult[Any]:
        return self.results[index]

    def __repr__(self) -> str:
        return f"<ResultSet: {', '.join(r.id for r in self.results)}>"


# ------------------------------------------------------------------------------------------------- helpers


def assert_may_wait() -> None:
    """Raise RuntimeError inside a task, where waiting for another one can use up all workers and deadlock."""
    if not joins_allowed():
        raise RuntimeError(
            "Never call result.get() within a task: when every worker waits so, none is left to run what they wait for. "
            "Link the tasks instead, use await result.aget(), or wrap the call in umbel.allow_join_result()."
        )


def _value(meta: ResultMeta) -> Any:
    return exception_from_failure(meta.result) if isinstance(meta.result, Failure) else meta.result


def _wait_for(app: Umbel, results: Collection[AsyncResult[Any]], timeout: float | None) -> None:
    if results:
        _keep_all(results, app.store.wait_now([r.id for r in results], timeout, records.final_for(app)))


async def _await_for(app: Umbel, results: Collection[AsyncResult[Any]], timeout: float | None) -> None:
    if results:
        _keep_all(results, await portal.arun(records.watch(app, {r.id for r in results}, timeout)))


def _keep_all(results: Iterable[AsyncResult[Any]], payloads: Any) -> None:
    for result in results:
        if result.id in payloads:
            result._keep(payloads[result.id])


def _from_tuple(entry: Any, app: Umbel) -> Iterator[AsyncResult[Any]]:
    """The results that Celery's form ``[[id, parent], members]`` stands for; only a group has members."""
    (task_id, parent), members = entry
    if members is None:
        made_by = None if parent is None else next(_from_tuple([parent, None], app))
        yield AsyncResult(task_id, app=app, parent=made_by)
    else:
        for member in members:
            yield from _from_tuple(member, app)
