"""What an app does with workflows: it sends them, runs them in place, and gives their calls ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from umbel import context
from umbel.builtins import Builtins
from umbel.codecs.failures import failure_from_exception
from umbel.codecs.results import form_of_failure
from umbel.context import allow_join_result
from umbel.errors import CallError
from umbel.flow.canvas import ON_FAILURE, chain, chord, group, join_steps, members_of
from umbel.flow.launch import freeze, launch
from umbel.flow.signature import Signature, as_list, maybe_signature
from umbel.groups import GroupResult, result_of
from umbel.ids import new_id
from umbel.options import NOT_IN_MESSAGES
from umbel.registry import FINDERS, Tasks
from umbel.result import lineage_of

if TYPE_CHECKING:
    from umbel.client import Client
    from umbel.config import Config
    from umbel.result import AsyncResult

__all__ = ["Workflows"]

Options = dict[str, Any]


class Workflows:
    """The part of an app that knows of workflows; ``flow.canvas.Sender``."""

    client: Client
    conf: Config
    tasks: Tasks

    def signature(
        self,
        task: str | Signature | Mapping[str, Any],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        **options: Any,
    ) -> Signature:
        """A call of this app as a value: of the task of that name, or of Celery's dict."""
        if isinstance(task, str):
            return Signature(task, tuple(args or ()), dict(kwargs or {}), options, immutable, app=self)
        made: Signature = maybe_signature(task, clone=True)
        made._app = self
        return made

    # -- flow.canvas.Sender

    def send_canvas(
        self, canvas: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Options
    ) -> Any:
        """Behind ``Signature.apply_async``."""
        if type(canvas) is Signature:
            call = canvas.clone(args, kwargs, **options)
            return self._send_call(call)
        if self.conf.task_always_eager:
            with allow_join_result():
                return self.run_canvas(canvas, args, kwargs, options)
        return self.client.send_launch(launch(canvas, args, kwargs, _of_calls(options)), options)

    def _send_call(self, call: Signature) -> Any:
        task = self.tasks.get(call.task)
        if task is None:
            return self.client.send_task(call.task, call.args, call.kwargs, call.options)
        return task.apply_async(call.args, call.kwargs, **call.options)

    async def asend_canvas(
        self, canvas: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Options
    ) -> Any:
        """Behind ``Signature.aapply_async``."""
        if type(canvas) is Signature:
            call = canvas.clone(args, kwargs, **options)
            task = self.tasks.get(call.task)
            if task is None:
                return await self.client.asend_task(call.task, call.args, call.kwargs, call.options)
            return await task.aapply_async(call.args, call.kwargs, **call.options)
        if self.conf.task_always_eager:
            with allow_join_result():
                return self.run_canvas(canvas, args, kwargs, options)
        return await self.client.asend_launch(launch(canvas, args, kwargs, _of_calls(options)), options)

    def freeze_canvas(self, canvas: Signature, ids: Mapping[str, Any]) -> Any:
        """Behind ``Signature.freeze``."""
        return result_of(freeze(canvas, ids), self)  # type: ignore[arg-type]

    # -- in place

    def run_canvas(
        self, canvas: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Options
    ) -> Any:
        """Behind ``Signature.apply``: run the calls here, one after another."""
        if isinstance(canvas, chain):
            return self._run_chain(canvas, args, kwargs, options)
        if isinstance(canvas, group):
            return self._run_group(canvas, args, kwargs, options)
        if isinstance(canvas, chord):
            return self._run_chord(canvas, args, kwargs, options)
        call = canvas.clone(args, kwargs, **options)
        return self.tasks[call.task].apply(call.args, call.kwargs, **call.options)

    def _run_chain(
        self, canvas: chain, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Options
    ) -> Any:
        whole = canvas.clone()
        for name in ("link", "link_error"):
            whole.extend_list_option(name, options.get(name))
        more = {
            k: v
            for k, v in {**canvas.options, **options}.items()
            if k not in ("link", "link_error", "task_id")
        }
        last: Any = None
        for step in join_steps(whole.unchain_tasks()):
            if last is not None:
                args, kwargs = (_value(last),), {}
            result = self.run_canvas(step, args, kwargs, more)
            first = list(lineage_of(result))[-1]
            first.parent, last = last, result
            if getattr(result, "state", None) in ("IGNORED", "REJECTED"):
                break
        return last

    def _run_group(
        self, canvas: group, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Options
    ) -> GroupResult:
        given = {**canvas.options, **options}
        group_id = given.pop("task_id", None) or new_id()
        results = [
            self.run_canvas(member, args, kwargs, {**given, "group_id": group_id})
            for member in members_of(canvas)
        ]
        return GroupResult(group_id, results, app=self)  # type: ignore[arg-type]

    def _run_chord(
        self, canvas: chord, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Options
    ) -> Any:
        if canvas.body is None:
            raise CallError("A chord needs a body: the call that gets the results of the others.")
        body = canvas.body.clone()
        for name, link in (("link", body.link), ("link_error", body.link_error)):
            for linked in (*as_list(canvas.options.get(name)), *as_list(options.get(name))):
                link(maybe_signature(linked))
        header = self.run_canvas(canvas.header, args, {**(canvas.kwargs.get("kwargs") or {}), **kwargs}, {})
        own = {name: value for name, value in options.items() if name not in ("link", "link_error")}
        if canvas.options.get(ON_FAILURE) == "collect":
            values = [_collected(result) for result in header.results]
        else:
            values = _value(header)
        result = self.run_canvas(body, (values,), {}, own)
        list(lineage_of(result))[-1].parent = header
        return result


def _of_calls(options: Options) -> Options:
    """Without those that are about the sending, and not about what is sent."""
    return {name: value for name, value in options.items() if name not in NOT_IN_MESSAGES}


def _collected(result: AsyncResult[Any] | GroupResult) -> Any:
    """The value, or in its place how the failure is described."""
    if isinstance(result, GroupResult):
        return [_collected(member) for member in result.results]
    with allow_join_result():
        value = result.get(propagate=False)
    return form_of_failure(failure_from_exception(value)) if isinstance(value, BaseException) else value


def _value(result: AsyncResult[Any] | GroupResult) -> Any:
    """The value, or values, of what has been run in place. Raises its failure."""
    with allow_join_result():
        return result.get()


FINDERS.append(Builtins())


def _current() -> Any:
    return context.state.local.get() or context.state.default


Signature.app_finders.append(_current)
