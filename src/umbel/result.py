"""Results: what is known of a call by its id."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
from umbel.errors import IncompleteStream, TimeoutError
from umbel.options import WaitOptions, ignore_wait_options
from umbel.ports import Located

if TYPE_CHECKING:
    from umbel.app import Umbel

__all__ = ["AsyncResult", "EagerResult", "assert_may_wait", "await_for", "lineage_of", "tuple_of", "wait_for"]

R_co = TypeVar("R_co", covariant=True)


class AsyncResult(Generic[R_co]):
    """The result of one call, which may be still to come.

    >>> result = add.delay(1, 2)  # doctest: +SKIP
    >>> result.get(timeout=10)  # doctest: +SKIP
    3
    """

    __slots__ = ("__weakref__", "_app", "_final", "_then", "id", "ignored", "parent")

    def __init__(
        self,
        id: str,
        *,
        app: Umbel | None = None,
        parent: Any = None,
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
        self._then: list[Callable[[AsyncResult[Any]], Any]] = []

    # -- waiting

    def then(self, callback: Callable[[Any], Any], on_error: Any = None, weak: bool = False) -> Any:
        """Call `callback` with this result when it has ended: now, or when ``get()`` sees it. `on_error`: instead, if it failed."""
        self._then.append(lambda result: (on_error if on_error and result.failed() else callback)(result))
        if self._final is not None or self.ready():
            self._tell_then()
        return self

    def _tell_then(self) -> None:
        while self._then:
            self._then.pop(0)(self)

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
            wait_for(self.app, [self], timeout)
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
            await await_for(self.app, [self], timeout)
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
            self._tell_then()
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
    def children(self) -> list[Any]:
        """The results of the calls that it made and that followed from it."""
        return [self.app.result_from_tuple(entry) for entry in self._meta().children or ()]

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

    maybe_reraise = throw = maybe_throw

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

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | int | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """The call must not run: workers throw it away when it reaches them.

        `terminate`: also end it if it runs, by killing its process. The others are taken for the sake of Celery: when it returns, it
        is kept in the broker, and there are no answers to wait for.
        """
        portal.run(records.revoke(self.app, [self.id], terminate, signal))

    def revoke_by_stamped_headers(
        self, headers: Mapping[str, Any], connection: Any = None, terminate: bool = False, **unused: Any
    ) -> None:
        """``revoke`` for all calls that have one of these stamps: ``{"user": ["ann", "bob"]}``."""
        portal.run(records.revoke_stamped(self.app, headers, terminate))

    # -- the workflow around it

    @property
    def root(self) -> Any:
        """The result of the call with which its workflow began, as far as the parents are known here."""
        found: Any = self
        while found.parent is not None:
            found = found.parent
        return found

    def get_leaf(self) -> Any:
        """The value of the last call that followed from it."""
        *_, (_, value) = self.collect()
        return value

    def collect(self, intermediate: bool = False, **options: Any) -> Iterator[tuple[Any, Any]]:
        """Result and value of it and of all that followed from it, each waited for. `options` are those of ``get``."""
        for _, result in self.iterdeps(intermediate):
            yield result, result.get(**options)

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """Parent and result for it and all that followed from it.

        Raises IncompleteStream when one of them has not ended; with `intermediate` such ones are left out.
        """
        waiting: deque[tuple[Any, Any]] = deque([(None, self)])
        while waiting:
            parent, result = waiting.popleft()
            yield parent, result
            if result.ready():
                waiting.extend((result, child) for child in result.children)
            elif not intermediate:
                raise IncompleteStream(
                    f"{result.id} has not ended, so what follows from it is not known yet."
                )

    def as_meta(self) -> dict[str, Any]:
        """What is stored, as Celery's dict."""
        meta = self._meta()
        return {
            "task_id": self.id,
            "status": meta.status,
            "result": _value(meta),
            "traceback": meta.traceback,
        }

    def rerun(self) -> int:
        """Run again what has failed of the workflow that ends in this call, which then goes on from there: what has succeeded is
        not repeated. Returns how many calls go back to their queues.

        They are those among the dead letters (``flow_keep_failed``) that are this call or come before it in its workflow. A
        result that knows its parents is needed: one that the sending returned.
        """
        calls: list[AsyncResult[Any]] = []
        waiting: list[Any] = [self]
        while waiting:
            for result in lineage_of(waiting.pop()):
                if isinstance(result, AsyncResult):
                    calls.append(result)
                else:
                    waiting += result.results
        for result in calls:
            result._final = None
        return portal.run(records.rerun(self.app, {result.id for result in calls}))

    # -- odds and ends

    def as_tuple(self) -> tuple[tuple[str, Any], None]:
        """Celery's form of a result: ``((id, parent), None)``."""
        return tuple_of(self)  # type: ignore[no-any-return]

    def _as_members(self) -> None:
        """It is not a group."""

    def as_list(self) -> list[str]:
        """Its id and those of its parents."""
        return [result.id for result in lineage_of(self)]

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
        id: str | None,
        result: Any,
        state: str,
        traceback: str | None = None,
        name: str | None = None,
        *,
        app: Umbel | None = None,
        children: Sequence[AsyncResult[Any]] = (),
    ) -> None:
        super().__init__(id or "none", app=app)
        if id is None:  # as celery-once and others make one, for a call that was never made
            self.id = None  # type: ignore[assignment]
        self._final = ResultMeta(
            task_id=id or "none", status=state, result=result, traceback=traceback, name=name
        )
        self._children = list(children)

    @property
    def children(self) -> list[Any]:
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

    def revoke(self, *unused: Any, **options: Any) -> None:
        """It is over: nothing is left to revoke."""

    def __reduce__(self) -> tuple[Any, ...]:
        meta = self._final
        assert meta is not None
        return type(self), (self.id, meta.result, meta.status)


# ------------------------------------------------------------------------------------------------- helpers


def lineage_of(result: Any) -> Iterator[Any]:
    """A result and those of what was called before it. A loop: a chain may be longer than the stack is deep."""
    while result is not None:
        yield result
        result = result.parent


def tuple_of(result: Any) -> Any:
    """Celery's form of a result or a group: ``((id, parent), members)``."""
    form: Any = None
    for each in reversed(list(lineage_of(result))):
        form = ((each.id, form), each._as_members())
    return form


def assert_may_wait() -> None:
    """Raise RuntimeError inside a task, where waiting for another one can use up all workers and deadlock."""
    if not joins_allowed():
        raise RuntimeError(
            "Never call result.get() within a task: when every worker waits so, none is left to run what they wait for. "
            "Link the tasks instead, use await result.aget(), or wrap the call in umbel.allow_join_result()."
        )


def _value(meta: ResultMeta) -> Any:
    return exception_from_failure(meta.result) if isinstance(meta.result, Failure) else meta.result


def wait_for(app: Umbel, results: Collection[AsyncResult[Any]], timeout: float | None) -> None:
    """Wait until all have ended, or for `timeout` seconds."""
    if results:
        _keep_all(results, app.store.wait_now([r.id for r in results], timeout, records.final_for(app)))


async def await_for(app: Umbel, results: Collection[AsyncResult[Any]], timeout: float | None) -> None:
    if results:
        _keep_all(results, await portal.arun(records.watch(app, {r.id for r in results}, timeout)))


def _keep_all(results: Iterable[AsyncResult[Any]], payloads: Any) -> None:
    for result in results:
        if result.id in payloads:
            result._keep(payloads[result.id])
