"""``umbel call`` and ``umbel result``: one call, from outside."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click
import msgspec

from umbel import AsyncResult, Umbel
from umbel.cli import exits
from umbel.cli.base import Command, Globals
from umbel.cli.options import Json
from umbel.cli.output import duration, emit_json
from umbel.cli.session import connected, the_app
from umbel.core import kombu_types
from umbel.errors import TimeoutError, UmbelError
from umbel.ports import Located

__all__ = ["call", "result"]

_FOR_EVER = -1.0


class _Seconds(click.ParamType):
    name = "SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        if seconds < 0 and seconds != _FOR_EVER:
            self.fail(f"{value!r} is negative; expected a number of seconds.", param, ctx)
        return seconds


class _Moment(click.ParamType):
    name = "TIME"

    def __init__(self, *, or_seconds: bool = False) -> None:
        self.or_seconds = or_seconds

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | float:
        if self.or_seconds:
            try:
                return float(value)
            except ValueError:
                pass
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            seconds = "a number of seconds or " if self.or_seconds else ""
            self.fail(f"{value!r} is not {seconds}a time such as 2030-01-31T18:00:00+01:00.", param, ctx)


_wait_option = click.option(
    "--wait",
    type=_Seconds(),
    is_flag=False,
    flag_value=str(_FOR_EVER),
    metavar="[SECONDS]",
    help="Wait for the result, at most so many seconds if given, and print it.",
)
_traceback_option = click.option("--traceback", is_flag=True, help="Of a failed task, print the traceback too.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print an object with id, state, result and more.")


@click.command(cls=Command)
@click.argument("name")
@click.option("-a", "--args", type=Json(list), default="[]", help="Positional arguments, a JSON array.")
@click.option("-k", "--kwargs", type=Json(dict), default="{}", help="Keyword arguments, a JSON object.")
@click.option("--countdown", type=_Seconds(), metavar="SECONDS", help="Run so many seconds from now.")
@click.option("--eta", type=_Moment(), help="Run at this time, ISO 8601; without an offset it is UTC (see enable_utc).")
@click.option("--expires", type=_Moment(or_seconds=True), help="Do not run after so many seconds, or after that time.")
@click.option("-Q", "--queue", metavar="NAME", help="The queue. [default: as the app routes it]")
@click.option("--exchange", metavar="NAME", help="AMQP's address, in place of a queue.")
@click.option("--routing-key", metavar="KEY", help="AMQP's address, in place of a queue.")
@click.option("--priority", type=click.IntRange(-100, 100), help="-100 to 100, larger is sooner.")
@click.option("--task-id", metavar="ID", help="An id of your own.")
@click.option("--serializer", metavar="NAME", help="json, msgpack, yaml or pickle.")
@click.option("--headers", type=Json(dict), help="Custom headers, a JSON object.")
@_wait_option
@_traceback_option
@_json_option
@click.pass_obj
def call(state: Globals, name: str, wait: float | None, traceback: bool, as_json: bool, **options: Any) -> None:
    """Send a task by its name.

    Prints the id of the call or, with --wait, its result. Arguments are checked when -A names an app that has
    the task; without -A the name is enough.

    \b
      umbel -A tasks call tasks.add --args '[1, 2]' --wait 10
      umbel -b redis://localhost call mail.send --kwargs '{"to": "ada"}' --countdown 60
    """
    app = the_app(state)
    args, kwargs = (_with_types(options.pop(key)) for key in ("args", "kwargs"))
    given = {key: value for key, value in options.items() if value is not None}
    if not app.broker.caps.processes:
        raise click.UsageError(f"{app.broker.url} lives inside one process: no worker would see this call. Use -b.")
    sent = _send(state, app, name, args, kwargs, given)
    if wait is not None:
        _report(app, sent, wait, traceback=traceback, as_json=as_json)
    elif as_json:
        emit_json({"id": sent.id})
    else:
        click.echo(sent.id)


def _with_types(value: Any) -> Any:
    """``{"__type__": "datetime", ...}`` as a datetime, the way that messages write it."""
    return kombu_types.loads(json.dumps(value).encode())


def _send(
    state: Globals, app: Umbel, name: str, args: list[Any], kwargs: dict[str, Any], options: Mapping[str, Any]
) -> AsyncResult[Any]:
    if not state.app:
        return app.send_task(name, args, kwargs, **options)
    app.finalize()
    task = app.tasks.get(name)
    if task is not None:
        try:
            return task.apply_async(args, kwargs, **options)
        except TypeError as exc:
            exits.fail(f"{exc}", exits.USAGE)
    close = difflib.get_close_matches(name, list(app.tasks), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    state.note(
        f"Note: the app has no task {name!r}.{hint} It is sent all the same, and parked until a worker knows it."
    )
    return app.send_task(name, args, kwargs, **options)


@click.command(cls=Command)
@click.argument("task_id", metavar="ID")
@_wait_option
@_traceback_option
@_json_option
@click.pass_obj
def result(state: Globals, task_id: str, wait: float | None, traceback: bool, as_json: bool) -> None:
    """Print the result of a call.

    Text is printed as it is, everything else as JSON. Exits with 0 when the task succeeded, 1 when it failed or
    was revoked, 3 when there is no result: the message then says where the call is.
    """
    app = the_app(state)
    _report(app, app.AsyncResult(task_id), wait, traceback=traceback, as_json=as_json)


# ------------------------------------------------------------------------------------------------- results


def _report(
    app: Umbel, awaited: AsyncResult[Any], wait: float | None, *, traceback: bool, as_json: bool
) -> None:
    """Print a result, or say why there is none, and end with the exit code of either."""
    if wait is not None:
        try:
            awaited.wait(None if wait == _FOR_EVER else wait, propagate=False)
        except TimeoutError:
            pass
    where = None if awaited.ready() else _locate(app, awaited.id)
    if as_json:
        emit_json(_as_json(awaited, where))
    elif awaited.successful():
        click.echo(_printable(awaited.result))
    if awaited.successful():
        return
    if awaited.ready():
        if traceback and awaited.traceback and not as_json:
            click.echo(awaited.traceback.rstrip(), err=True)
        exits.fail(_how_it_failed(awaited), exits.FAILED)
    exits.fail(_why_not_yet(awaited, where, wait), exits.ABSENT)


def _how_it_failed(ended: AsyncResult[Any]) -> str:
    error = ended.result
    described = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)
    verb = "was revoked" if ended.state == "REVOKED" else "failed"
    return f"The task {ended.id} {verb}: {described}"


def _printable(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(msgspec.to_builtins(value, enc_hook=str, str_keys=True), ensure_ascii=False)


def _locate(app: Umbel, task_id: str) -> Located | None:
    return None


def _as_json(awaited: AsyncResult[Any], where: Located | None) -> dict[str, Any]:
    value, failed = awaited.result, awaited.state in ("FAILURE", "REVOKED", "RETRY")
    form: dict[str, Any] = {
        "id": awaited.id,
        "state": awaited.state,
        "ready": awaited.ready(),
        "result": None if failed else value,
        "error": {"type": type(value).__name__, "message": str(value)} if failed and value is not None else None,
        "traceback": awaited.traceback,
        "date_done": awaited.date_done,
        "where": None,
    }
    if where is not None:
        form["where"] = {"shelf": where.shelf, "queue": where.queue, "reason": where.reason or None}
    return form
