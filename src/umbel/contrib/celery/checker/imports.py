"""Imports of what Umbel does not have under Celery's names."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from umbel.contrib.celery.checker.project import Project
from umbel.contrib.celery.checker.rules import MISSING_MODULES, PACKAGES
from umbel.contrib.celery.checker.shim import ROOTS
from umbel.contrib.celery.checker.source import Python

__all__ = ["check_imports"]

_GUARDS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


def check_imports(project: Project, source: Python) -> None:
    """Modules and names that are not there, signals that are never sent, packages that build on Celery's insides."""
    unsent = project.shim.unsent_signals()
    for node in _unguarded(source.tree.body):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _package(source, alias.name, node.lineno)
                if _celerys(alias.name):
                    _module(project, source, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            _package(source, node.module, node.lineno)
            if not _celerys(node.module) or not _module(project, source, node.module, node.lineno):
                continue
            for alias in node.names:
                _name(project, source, node.module, alias)
                if node.module == "celery.signals" and alias.name in unsent:
                    source.say("signal-unsent", alias.lineno, name=alias.name)
    _check_attributes(project, source, unsent)
    _check_installed_apps(source)


def advice_for(name: str) -> str:
    """What to do where `name` is missing."""
    parts = name.split(".")
    prefixes = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next(MISSING_MODULES[prefix] for prefix in (*prefixes, "celery") if prefix in MISSING_MODULES)


def _celerys(module: str) -> bool:
    return module.partition(".")[0] in ROOTS


def _module(project: Project, source: Python, module: str, line: int) -> bool:
    if project.shim.has_module(module):
        return True
    source.say("import-module", line, module=module, advice=advice_for(module))
    return False


def _name(project: Project, source: Python, module: str, alias: ast.alias) -> None:
    if alias.name != "*" and not project.shim.has_name(module, alias.name):
        missing = f"{module}.{alias.name}"
        source.say("import-name", alias.lineno, module=module, name=alias.name, advice=advice_for(missing))


def _package(source: Python, module: str, line: int) -> None:
    top = module.partition(".")[0]
    if top in PACKAGES:
        source.celery = True
        source.say("package", line, name=top, advice=PACKAGES[top])


def _unguarded(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements, without those that are tried and may fail, or that only type checkers see."""
    pending = list(reversed(body))
    while pending:
        node = pending.pop()
        yield node
        inner: list[ast.stmt] = []
        if isinstance(node, ast.Try) and any(_catches(handler) for handler in node.handlers):
            fields: tuple[str, ...] = ("orelse", "finalbody")
        elif isinstance(node, ast.If) and _typing_only(node.test):
            fields = ("orelse",)
        else:
            fields = ("body", "orelse", "finalbody")
        for field in fields:
            inner += getattr(node, field, None) or []
        for handler in getattr(node, "handlers", []) if len(fields) == 3 else []:
            inner += handler.body
        for case in getattr(node, "cases", []):
            inner += case.body
        pending += reversed(inner)


def _catches(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in _GUARDS) for kind in kinds)


def _typing_only(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


def _check_attributes(project: Project, source: Python, unsent: frozenset[str]) -> None:
    """``import celery`` and then ``celery.bootsteps.Step``; ``from celery import signals`` and then ``signals.task_received``."""
    inner = {id(node.value) for node in source.nodes if isinstance(node, ast.Attribute)}
    said = {(found.line, found.rule) for found in source.findings}
    for node in source.nodes:
        if not isinstance(node, ast.Attribute) or id(node) in inner:
            continue
        dotted = source.dotted(node)
        root = _root(node)
        if not _celerys(dotted) or root not in source.names:
            continue
        if dotted.startswith("celery.signals.") and dotted.split(".")[2] in unsent:
            if not source.names[root].endswith(dotted.split(".")[2]):  # else the import has said so
                source.say("signal-unsent", node.lineno, name=dotted.split(".")[2])
            continue
        missing = project.shim.missing_part(dotted)
        if missing is None or project.shim.missing_part(source.names[root]) is not None:
            continue
        module, name = missing
        if (node.lineno, "import-name") not in said and not _imported(source, f"{module}.{name}"):
            advice = advice_for(f"{module}.{name}")
            source.say("import-name", node.lineno, module=module, name=name, advice=advice)


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _imported(source: Python, module: str) -> bool:
    """Whether an import names that module, and has been reported or is guarded."""
    return any(
        alias.name == module or alias.name.startswith(f"{module}.")
        for node in source.nodes
        if isinstance(node, ast.Import)
        for alias in node.names
    )


def _check_installed_apps(source: Python) -> None:
    for node in source.nodes:
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "INSTALLED_APPS" for target in targets):
                for text, line in source.texts(node.value):
                    _package(source, text, line)
