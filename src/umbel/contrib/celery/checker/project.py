"""The Python files of a project as one: which names are apps, which functions are tasks, where the settings are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from umbel.contrib.celery.checker.shim import Shim
from umbel.contrib.celery.checker.source import Python

__all__ = ["Given", "Project"]

_CONSTRUCTORS = frozenset({"celery.Celery", "celery.app.Celery", "celery.app.base.Celery"})
_CURRENT = frozenset({"celery.current_app", "celery._state.current_app", "celery.app.app_or_default"})
_TASK_CLASSES = frozenset({"celery.Task", "celery.app.task.Task", "celery.task.Task"})
_DECORATORS = frozenset({"celery.shared_task", "celery.app.shared_task", "celery.task", "celery.task.task"})
_USUAL_NAMES = frozenset({"app", "celery", "celery_app", "capp"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Given(NamedTuple):
    """A setting that is given somewhere."""

    source: Python
    line: int
    name: str
    """As it is written, or as the argument of Celery() means it."""
    value: ast.expr | None
    namespace: str | None = None
    place: str = ""
    """Settings of one file and place are given together."""


class Project:
    """Made of all files before the first is checked: an app in one is used in others."""

    def __init__(self, sources: list[Python]) -> None:
        self.sources = sources
        self.shim = Shim()
        self.given: list[Given] = []
        self._apps: set[tuple[str, str]] = set()
        """The module, by the last part of its name, and the variable."""
        self._local: dict[Python, set[str]] = {source: set() for source in sources}
        self._classes: set[str] = set()
        """Subclasses of Celery."""
        for source in sources:
            self._classes |= {
                node.name
                for node in source.nodes
                if isinstance(node, ast.ClassDef)
                and any(source.dotted(b) in _CONSTRUCTORS for b in node.bases)
            }
        for source in sources:
            self._learn_made(source)
        for _ in range(2):  # an app, the package that passes it on, and who imports it from there
            for source in sources:
                self._learn_imported(source)

    # -- apps

    def _learn_made(self, source: Python) -> None:
        for node in source.nodes:
            if isinstance(node, ast.Assign) and self.makes_app(source, node.value):
                for target in node.targets:
                    if isinstance(target, ast.Name | ast.Attribute):
                        self._add(source, target.id if isinstance(target, ast.Name) else target.attr)
            elif (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and self.makes_app(source, node.value)
            ):
                self._add(source, node.target.id)

    def _learn_imported(self, source: Python) -> None:
        for name, dotted in source.names.items():
            module, _, attribute = dotted.rpartition(".")
            if (module.rpartition(".")[2] or source.path.absolute().parent.name, attribute) in self._apps:
                self._add(source, name)

    def _add(self, source: Python, name: str) -> None:
        self._local[source].add(name)
        self._apps.add((module_parts(source.path)[-1], name))

    def makes_app(self, source: Python, node: ast.expr | None) -> bool:
        """Whether it is a call of ``Celery(...)``, or of a subclass of it."""
        if not isinstance(node, ast.Call):
            return False
        dotted = source.dotted(node.func)
        return dotted in _CONSTRUCTORS or dotted.rpartition(".")[2] in self._classes

    def is_app(self, source: Python, node: ast.AST | None) -> bool:
        """Whether an expression stands for an app."""
        if isinstance(node, ast.Attribute) and node.attr in self._local[source]:
            return True
        if isinstance(node, ast.Attribute) and node.attr in ("app", "_app") and source.celery:
            return isinstance(node.value, ast.Name) and node.value.id == "self"
        if isinstance(node, ast.Name) and node.id in self._local[source]:
            return True
        return source.dotted(node) in _CURRENT

    # -- tasks

    def task_decorator(self, source: Python, function: Function) -> ast.expr | None:
        """The decorator that makes a task of it, if there is one."""
        for decorator in function.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if source.dotted(called) in _DECORATORS:
                return decorator
            if isinstance(called, ast.Attribute) and called.attr == "task":
                usual = (
                    isinstance(called.value, ast.Name) and called.value.id in _USUAL_NAMES and source.celery
                )
                if usual or self.is_app(source, called.value):
                    return decorator
        return None

    def is_task_class(self, source: Python, node: ast.ClassDef, depth: int = 5) -> bool:
        """Whether it derives from Celery's Task, in this file."""
        for base in node.bases:
            if source.dotted(base) in _TASK_CLASSES:
                return True
            if isinstance(base, ast.Attribute) and base.attr == "Task" and self.is_app(source, base.value):
                return True
            if isinstance(base, ast.Name) and depth:
                for other in source.nodes:
                    if isinstance(other, ast.ClassDef) and other.name == base.id and other is not node:
                        return self.is_task_class(source, other, depth - 1)
        return False

    # -- modules

    def modules(self, dotted: str) -> Iterator[tuple[Python, str]]:
        """The files that a dotted name may mean, each with the class in it, or ''."""
        parts = [part for part in dotted.replace(":", ".").split(".") if part]
        for source in self.sources:
            here = module_parts(source.path)
            if parts and here[-len(parts) :] == parts:
                yield source, ""
            elif len(parts) > 1 and here[-len(parts) + 1 :] == parts[:-1]:
                yield source, parts[-1]


def module_parts(path: Path) -> list[str]:
    """``/x/proj/__init__.py`` as ``[..., "x", "proj"]``."""
    parts = list(path.absolute().with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts
