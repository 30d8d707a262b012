"""``umbel call`` and ``umbel result``: one call, from outside."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from umbel import AsyncResult, Umbel
from umbel.cli import exits
from umbel.cli.base import Command, Globals
from umbel.cli.find_app import import_tasks
from umbel.cli.options import json_array, json_object, moment, moment_or_seconds, seconds
from umbel.cli.output import duration, emit_json
from umbel.cli.session import the_app
from umbel.core.outcome import PENDING
from umbel.errors import TimeoutError
from umbel.ports import Located, Shelf

__all__ = ["call", "result"]

_FOR_EVER = "for ever"


def _patience(value: Any) -> float | str:
    """Type of --wait: seconds, or for ever when it stands alone."""
    try:
        return _FOR_EVER if value == _FOR_EVER else seconds(value)
    except click.BadParameter as exc:
        raise click.BadParameter(f"{exc.message} What is no number goes before --wait.") from exc


_wait_option = click.option(
    "--wait",
    type=_patience,
    is_flag=False,
    flag_value=_FOR_EVER,
    metavar="[SECONDS]",
    help="Wait for the result, at most so many seconds if given, and print it.",
)
_traceback_option = click.option(
    "--traceback", is_flag=True, help="Of a failed task, print the traceback too."
)
_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print an object with id, state, result and more."
)


@click.command(cls=Command)
@click.argument("name")
@click.option(
    "-a", "--args", type=json_array, metavar="JSON", default="[]", help="Positional arguments, a JSON array."
)
@click.option(
    "-k", "--kwargs", type=json_object, metavar="JSON", default="{}", help="Keyword arguments, a JSON object."
)
@click.option("--countdown", type=seconds, metavar="SECONDS", help="Run so many seconds from now.")
@click.option(
    "--eta",
    type=moment,
    metavar="TIME",
    help="Run at this time, ISO 8601; without an offset it is UTC (see enable_utc).",
)
@click.option(
    "--expires",
    type=moment_or_seconds,
    metavar="TIME",
    help="Do not run after so many seconds, or after that time.",
)
@click.option("-Q", "--queue", metavar="NAME", help="The queue. [default: as the app routes it]")
@click.option("--exchange", metavar="NAME", help="AMQP's address, in place of a queue.")
@click.option("--routing-key", metavar="KEY", help="AMQP's address, in place of a queue.")
@click.option("--priority", type=click.IntRange(-100, 100), help="-100 to 100, larger is sooner.")
@click.option("--task-id", metavar="ID", help="An id of your own.")
@click.option("--serializer", metavar="NAME", help="json, msgpack, yaml or pickle.")
@click.option("--headers", type=json_object, metavar="JSON", help="Custom headers, a JSON object.")
@_wait_option
@_traceback_option
@_json_option
@click.pass_obj
def call(
    state: Globals, /, name: str, wait: float | str | None, traceback: bool, as_json: bool, **options: Any
) -> None:
    """Send a task by its name.

    Prints the id of the call or, with --wait, its result as `umbel result` does. Arguments are checked when -A names an app that has
    the task; without -A the name is enough.

    \b
      umbel -A tasks call tasks.add --args '[1, 2]' --wait 10
      umbel -b redis://localhost call mail.send --kwargs '{"to": "ada"}' --countdown 60
    """
    app = the_app(state)
    args, kwargs = options.pop("args"), options.pop("kwargs")
    given = {key: value for key, value in options.items() if value is not None}
    if not app.broker.caps.processes:
        raise click.UsageError(
            f"{app.broker.url} lives inside one process: no worker would see this call. Use -b."
        )
    with app:
        sent = _send(state, app, name, args, kwargs, given)
        if wait is not None:
            _report(sent, wait, traceback=traceback, as_json=as_json)
        elif as_json:
            emit_json({"id": sent.id})
        else:
            click.echo(sent.id)


def _send(
    state: Globals, app: Umbel, name: str, args: list[Any], kwargs: dict[str, Any], options: Mapping[str, Any]
) -> AsyncResult[Any]:
    if not state.app:
        return app.send_task(name, args, kwargs, **options)
    import_tasks(app)
    task = app.tasks.get(name)
    if task is not None:
        try:
            return app.send_task(name, args, kwargs, **options)
        except TypeError as exc:
            exits.fail(str(exc), exits.USAGE)
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
def result(state: Globals, task_id: str, wait: float | str | None, traceback: bool, as_json: bool) -> None:
    """Print the result of a call.

    Text is printed as it is, everything else as JSON. Exits with 0 when the task succeeded, 1 when it failed or
    was revoked, 3 when there is no result: the message then says where the call is.

    --json prints an object, whatever the exit code, with id, state, ready, result, error (type, message),
    traceback, date_done (ISO 8601) and where (shelf, queue, reason).
    """
    app = the_app(state)
    with app:
        _report(app.AsyncResult(task_id), wait, traceback=traceback, as_json=as_json)


# ------------------------------------------------------------------------------------------------- results


def _report(awaited: AsyncResult[Any], wait: float | str | None, *, traceback: bool, as_json: bool) -> None:
    """Print a result, or say why there is none, and end with the exit code of either."""
    if wait is not None:
        with contextlib.suppress(TimeoutError):
            awaited.wait(wait if isinstance(wait, float) else None, propagate=False)
    where = None if awaited.ready() else awaited.locate()
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


def _why_not_yet(awaited: AsyncResult[Any], where: Located | None, wait: float | str | None) -> str:
    """Where the call is, in one sentence, and what to do."""
    waited = f" after {duration(wait)}" if isinstance(wait, float) else ""
    state = awaited.state
    if where is not None:
        reason = f" ({where.reason.rstrip('.')})" if where.reason else ""
        progress = f" Its state is {state}." if state != PENDING else ""
        return f"No result yet{waited}: the call {_WHERE[where.shelf].format(queue=where.queue, reason=reason)}{progress}"
    if state != PENDING:
        detail = f": {_printable(awaited.result)}" if awaited.result is not None else ""
        return f"No result yet{waited}: its state is {state}{detail}."
    return (
        f"Nothing is known of a call with the id {awaited.id!r} on {awaited.app.broker.url}: it was never sent, or it "
        "has ended and its result was not kept or has expired (result_expires)."
    )


_WHERE: dict[Shelf, str] = {
    "waiting": "waits in the queue {queue!r}. `umbel status` shows whether a worker serves it.",
    "scheduled": "is scheduled for later in the queue {queue!r}{reason}.",
    "held": "is held by a worker, from the queue {queue!r}.",
    "parked": "is parked, out of the queue {queue!r}{reason}: it returns when a worker knows its task.",
    "dead": "is dead, out of the queue {queue!r}{reason}. See `umbel dead show ID`.",
}


def _as_json(awaited: AsyncResult[Any], where: Located | None) -> dict[str, Any]:
    value, failed = awaited.result, awaited.state in ("FAILURE", "REVOKED", "RETRY")
    form: dict[str, Any] = {
        "id": awaited.id,
        "state": awaited.state,
        "ready": awaited.ready(),
        "result": None if failed else value,
        "error": {"type": type(value).__name__, "message": str(value)}
        if failed and value is not None
        else None,
        "traceback": awaited.traceback,
        "date_done": awaited.date_done,
        "where": None,
    }
    if where is not None:
        form["where"] = {"shelf": where.shelf, "queue": where.queue, "reason": where.reason or None}
    return form
