"""Celery's side: the app for ``celery -A interop.celery_side worker``, and the client process of the tests.

The client evaluates what a test asks for, with the app, its tasks and Celery's names at hand, and answers with the value.
"""

from __future__ import annotations

import ast
import json
import multiprocessing.connection
import os
import sys
import textwrap
import traceback
from typing import Any

import celery
import celery.exceptions

from interop import jobs


def make_app(**settings: Any) -> celery.Celery:
    """A Celery app of this process's broker, result store and default queue, without tasks."""
    made = celery.Celery(
        "interop", broker=os.environ["INTEROP_BROKER"], backend=os.environ["INTEROP_BACKEND"]
    )
    defaults = {
        "task_default_queue": os.environ["INTEROP_QUEUE"],
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
    }
    made.conf.update({**defaults, **json.loads(os.environ["INTEROP_SETTINGS"]), **settings})
    return made


app = make_app()
tasks = jobs.define(app, celery.exceptions)


def outcome(result: Any, timeout: float = jobs.PATIENCE) -> dict[str, Any]:
    """How a call ended, as its caller sees it."""
    try:
        value = result.get(timeout=timeout)
    except Exception as exc:  # noqa: BLE001 - what is raised is what the test wants to see
        return {
            "state": result.state,
            "module": type(exc).__module__,
            "class": type(exc).__qualname__,
            "bases": [cls.__qualname__ for cls in type(exc).__mro__],
            "args": [arg if isinstance(arg, str | int | float | None) else repr(arg) for arg in exc.args],
            "traceback": result.traceback or "",
        }
    return {"state": result.state, "value": value}


def answer(source: str, names: dict[str, Any]) -> Any:
    """Run `source`; the value of its last expression."""
    tree = ast.parse(textwrap.dedent(source))
    last = tree.body.pop()
    if not isinstance(last, ast.Expr):
        raise SyntaxError("the last statement must be an expression")
    exec(compile(tree, "<test>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<test>", "eval"), names)


def serve(connection: multiprocessing.connection.Connection) -> None:
    """Answer one request after the other until the test closes the connection."""
    common = {
        **vars(celery),
        **tasks,
        "app": app,
        "make_app": make_app,
        "outcome": outcome,
        "AsyncResult": app.AsyncResult,
        "group": celery.group,
        "chain": celery.chain,
    }
    names: dict[str, Any] = {}
    while True:
        try:
            source, given = connection.recv()
        except EOFError:
            return
        names.update(common, **given)
        try:
            reply = ("value", answer(source, names))
        except BaseException:  # noqa: BLE001 - the test is told
            reply = ("error", traceback.format_exc())
        connection.send(reply)


if __name__ == "__main__":
    serve(multiprocessing.connection.Connection(int(sys.argv[1])))
