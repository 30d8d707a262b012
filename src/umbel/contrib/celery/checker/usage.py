"""What a program does with its app, its tasks and its results."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator

from umbel.cli.worker import celerys_options
from umbel.contrib.celery.amqp import Amqp
from umbel.contrib.celery.app import Celery
from umbel.contrib.celery.backend import Backend
from umbel.contrib.celery.checker.project import Function, Project
from umbel.contrib.celery.checker.rules import APP_PARTS, CELERY_APP, TASK_EXTRAS, TASK_INERT
from umbel.contrib.celery.checker.settings import has_beat, is_inert
from umbel.contrib.celery.checker.source import Python
from umbel.control import Control
from umbel.options import CALL_OPTIONS, TASK_OPTIONS
from umbel.worker.control import refused_commands

__all__ = ["check_usage"]

_NOT_CELERYS_CALL = frozenset({"kwds", "callback", "error_callback"})
"""Arguments of ``apply_async`` of a pool of the standard library."""
_WAITS = frozenset({"get", "wait", "join", "join_native"})
_SENDS = frozenset({"delay", "apply_async", "send_task"})
_CANVAS = frozenset(
    f"celery{module}.{name}" for module in ("", ".canvas") for name in ("group", "chord", "chain")
)
_CHORDS = frozenset({"celery.chord", "celery.canvas.chord"})
_PARTS = {
    "amqp": (Amqp, "Routing is in app.conf."),
    "backend": (Backend, "Use results: app.AsyncResult(id), or open the server yourself."),
}
_CLOSE = 0.8


def check_usage(project: Project, source: Python, *, results: bool) -> None:
    """`results`: whether the settings name a result backend."""
    for node in source.nodes:
        if isinstance(node, ast.Attribute):
            _attribute(project, source, node)
        elif isinstance(node, ast.Call):
            _call(project, source, node, results)
        elif isinstance(node, Function):
            decorator = project.task_decorator(source, node)
            if decorator is not None:
                source.celery = True
                _options(source, decorator)
                _inside_task(source, node)
        elif isinstance(node, ast.ClassDef) and project.is_task_class(source, node):
            _task_class(source, node)


# -- the app


def _attribute(project: Project, source: Python, node: ast.Attribute) -> None:
    name, owner = node.attr, node.value
    if project.is_app(source, owner):
        if name in CELERY_APP and not hasattr(Celery, name):
            source.say("app-attribute", node.lineno, name=name, advice=CELERY_APP[name])
    elif isinstance(owner, ast.Attribute) and project.is_app(source, owner.value):
        if owner.attr in _PARTS:
            kind, advice = _PARTS[owner.attr]
            if not hasattr(kind, name) and name not in _instance_names(kind):
                source.say("part-attribute", node.lineno, part=f"app.{owner.attr}", name=name, advice=advice)
        elif owner.attr == "control" and name in refused_commands():
            source.say("control-command", node.lineno, name=name, why=refused_commands()[name])
        elif owner.attr == "control" and not hasattr(Control, name) and not name.startswith("_"):
            advice = "Use broadcast(), or `umbel control`."
            source.say("part-attribute", node.lineno, part="app.control", name=name, advice=advice)


def _instance_names(kind: type) -> frozenset[str]:
    """What ``__init__`` sets, by the names in its code."""
    return frozenset(vars(kind)["__init__"].__code__.co_names)


# -- calls


def _call(project: Project, source: Python, node: ast.Call, results: bool) -> None:
    dotted = source.dotted(node.func)
    if project.makes_app(source, node):
        source.celery = True
        for keyword in node.keywords:
            if keyword.arg in APP_PARTS:
                source.say("app-part", keyword.value.lineno, name=keyword.arg)
    elif dotted in _CHORDS and not results:
        source.say("chord-results", node.lineno)
    elif dotted == "eventlet.monkey_patch" or dotted.startswith("gevent.monkey.patch"):
        name = dotted.partition(".")[0]
        if name not in celerys_options().pools and source.project_has_celery:
            source.say("monkey-patching", node.lineno, name=name)
    if not isinstance(node.func, ast.Attribute):
        return
    called, owner = node.func.attr, node.func.value
    if called == "add_periodic_task" and not has_beat() and source.project_has_celery:
        source.say("beat", node.lineno, name="add_periodic_task")
    elif called == "broadcast" and node.args:
        name = source.value(node.args[0])
        if isinstance(name, str) and name in refused_commands():
            source.say("control-command", node.lineno, name=name, why=refused_commands()[name])
    elif called == "apply_async" and source.project_has_celery:
        _call_options(source, node)
    elif called == "get" and _is_result(source, owner):
        for keyword in node.keywords:
            if keyword.arg in ("on_message", "on_interval"):
                source.say("result-callbacks", keyword.value.lineno, name=keyword.arg)


def _call_options(source: Python, node: ast.Call) -> None:
    names = {keyword.arg for keyword in node.keywords if keyword.arg is not None}
    if names & _NOT_CELERYS_CALL:
        return
    for keyword in node.keywords:
        name = keyword.arg
        if name is not None and name not in CALL_OPTIONS and name not in ("args", "kwargs", "route_name"):
            source.say("call-option", keyword.value.lineno, name=name)


def _is_result(source: Python, node: ast.expr, depth: int = 3) -> bool:
    """Whether an expression is the result of a call, as far as the file tells."""
    if isinstance(node, ast.Name) and depth and node.id in source.values:
        return _is_result(source, source.values[node.id], depth - 1)
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr in _SENDS:
        return not any(keyword.arg in _NOT_CELERYS_CALL for keyword in node.keywords)
    if isinstance(node.func, ast.Call):  # group(...)()
        return source.dotted(node.func.func) in _CANVAS
    return source.dotted(node.func).rpartition(".")[2] in ("AsyncResult", "GroupResult")


# -- tasks


def _options(source: Python, decorator: ast.expr) -> None:
    for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
        if keyword.arg is not None:
            _option(source, keyword.arg, keyword.value, keyword.value.lineno)


def _option(source: Python, name: str, value: ast.expr, line: int) -> None:
    if name in ("Request", "Strategy"):
        source.say("custom-request", line, name=name)
    elif name == "backend":
        source.say("task-backend", line)
    elif name == "rate_limit":
        if is_inert("task_default_rate_limit") and source.value(value) is not None:
            source.say("rate-limit", line)
    elif name in TASK_INERT:
        setting, advice = TASK_INERT[name]
        if is_inert(setting) and source.value(value) not in (None, True):
            source.say("task-option-inert", line, name=name, advice=advice)
    elif name == "serializer":
        if source.value(value) == "pickle":
            source.say("pickle", line, name="serializer")
    elif name not in TASK_OPTIONS and name not in TASK_EXTRAS:
        close = difflib.get_close_matches(name, TASK_OPTIONS, n=1, cutoff=_CLOSE)
        if close:
            source.say("task-option-misspelt", line, name=name, suggestion=close[0])
        else:
            source.say("task-option-unknown", line, name=name)


def _task_class(source: Python, node: ast.ClassDef) -> None:
    source.celery = True
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                # Other names are attributes of the program's own; only those that mean something are looked at.
                if isinstance(target, ast.Name) and target.id in _TELLING:
                    _option(source, target.id, statement.value, statement.lineno)
        elif isinstance(statement, Function) and statement.name in ("run", "__call__"):
            _inside_task(source, statement)


_TELLING = frozenset({"Request", "Strategy", "backend", "rate_limit", "serializer", *TASK_INERT})


def _inside_task(source: Python, function: Function) -> None:
    for node in _body(function):
        if isinstance(node, ast.Attribute) and node.attr == "backend":
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                source.say("task-backend", node.lineno)
        elif isinstance(node, ast.Call) and _waits(source, node):
            forced = any(
                keyword.arg == "disable_sync_subtasks" and source.value(keyword.value) is False
                for keyword in node.keywords
            )
            source.say("wait-in-task-forced" if forced else "wait-in-task", node.lineno)


def _waits(source: Python, node: ast.Call) -> bool:
    """``task.delay().get()`` and its like."""
    func = node.func
    return isinstance(func, ast.Attribute) and func.attr in _WAITS and _is_result(source, func.value)


def _body(function: Function) -> Iterator[ast.AST]:
    for statement in function.body:
        yield from ast.walk(statement)
