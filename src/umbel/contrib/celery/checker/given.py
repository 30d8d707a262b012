"""Where settings are given: on app.conf, in Celery(...), and in the modules that config_from_object names."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from umbel.contrib.celery.checker.project import Given, Project, module_parts
from umbel.contrib.celery.checker.source import Python
from umbel.settings import OLD_NAMES, SETTINGS

__all__ = ["settings_given"]

_DJANGO = ("django.conf:settings", "django.conf.settings")
_ARGUMENTS = {"broker": "broker_url", "backend": "result_backend", "include": "include"}
_PREFIXES = ("task_", "worker_", "result_", "broker_", "beat_", "celery_", "celeryd_", "celerybeat_")


def settings_given(project: Project) -> list[Given]:
    """All of them, in the order of the files."""
    found: list[Given] = []
    targets: list[tuple[Python, ast.expr, str | None]] = []
    for source in project.sources:
        for node in source.nodes:
            if isinstance(node, ast.Call):
                found += _of_call(project, source, node)
                targets += _configs(project, source, node)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    found += _assigned(project, source, target, node.value)
            elif isinstance(node, ast.AugAssign | ast.AnnAssign):
                found += _assigned(project, source, node.target, node.value)
    read: set[tuple[Python, str]] = set()
    namespaces = {space for source, target, space in targets if _is_django(source, target) and space}
    for source, target, space in targets:
        if not _is_django(source, target):
            found += _of_target(project, source, target, space, read)
    for source in project.sources:
        if module_parts(source.path)[-1] == "celeryconfig" and (source, "") not in read:
            found += _of_body(source, source.tree.body, None)
        elif _is_settings_file(source) and (source, "") not in read:
            for body in _bodies(source):
                found += _of_body(
                    source, body, sorted(namespaces)[0] if namespaces else "CELERY", strict=not namespaces
                )
    return found


# -- on the app


def _of_call(project: Project, source: Python, node: ast.Call) -> Iterator[Given]:
    if project.makes_app(source, node):
        for keyword in node.keywords:
            if keyword.arg in _ARGUMENTS:
                yield Given(
                    source, keyword.value.lineno, _ARGUMENTS[keyword.arg], keyword.value, place="Celery"
                )
            elif keyword.arg == "changes":
                yield from _of_dict(source, keyword.value, "Celery")
        return
    if not isinstance(node.func, ast.Attribute):
        return
    called, owner = node.func.attr, node.func.value
    if called == "update" and _is_conf(project, source, owner):
        yield from _of_arguments(source, node, "update")
    elif called == "setdefault" and _is_conf(project, source, owner) and len(node.args) == 2:
        if isinstance(name := source.value(node.args[0]), str):
            yield Given(source, node.lineno, name, node.args[1])
    elif called == "add_defaults" and project.is_app(source, owner):
        yield from _of_arguments(source, node, "add_defaults")


def _of_arguments(source: Python, node: ast.Call, place: str) -> Iterator[Given]:
    for argument in node.args:
        yield from _of_dict(source, argument, place)
    for keyword in node.keywords:
        if keyword.arg is None:
            yield from _of_dict(source, keyword.value, place)
        else:
            yield Given(source, keyword.value.lineno, keyword.arg, keyword.value, place=place)


def _of_dict(
    source: Python, node: ast.expr, place: str, namespace: str | None = None, depth: int = 5
) -> Iterator[Given]:
    if isinstance(node, ast.Name) and depth and node.id in source.values:
        yield from _of_dict(source, source.values[node.id], place, namespace, depth - 1)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                if depth:
                    yield from _of_dict(source, value, place, namespace, depth - 1)
            elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield Given(source, key.lineno, key.value, value, namespace, place)
    elif isinstance(node, ast.Call) and source.dotted(node.func) == "dict":
        for keyword in node.keywords:
            if keyword.arg is not None:
                yield Given(source, keyword.value.lineno, keyword.arg, keyword.value, namespace, place)


def _assigned(project: Project, source: Python, target: ast.expr, value: ast.expr | None) -> Iterator[Given]:
    if isinstance(target, ast.Attribute) and _is_conf(project, source, target.value):
        yield Given(source, target.lineno, target.attr, value, place="conf")
    elif isinstance(target, ast.Subscript):
        key = target.slice
        if _is_conf(project, source, target.value):
            if isinstance(name := source.value(key), str):
                yield Given(source, target.lineno, name, value, place="conf")
        elif isinstance(target.value, ast.Attribute) and _is_conf(project, source, target.value.value):
            # app.conf.broker_transport_options["master_name"] = "main"
            whole = ast.Dict([key], [value]) if value is not None else None
            yield Given(source, target.lineno, target.value.attr, whole)


def _is_conf(project: Project, source: Python, node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "conf" and project.is_app(source, node.value)


# -- in modules


def _configs(
    project: Project, source: Python, node: ast.Call
) -> Iterator[tuple[Python, ast.expr, str | None]]:
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    space = source.value(named.get("namespace"))
    namespace = space.rstrip("_") or None if isinstance(space, str) else None
    if isinstance(node.func, ast.Attribute) and node.func.attr == "config_from_object":
        target = node.args[0] if node.args else named.get("obj")
        if target is not None:
            yield source, target, namespace
    elif project.makes_app(source, node) and "config_source" in named:
        yield source, named["config_source"], namespace


def _text(source: Python, target: ast.expr) -> str:
    if isinstance(target, ast.Call):  # config_from_object(Config())
        target = target.func
    text = source.value(target)
    return text if isinstance(text, str) else source.dotted(target)


def _is_django(source: Python, target: ast.expr) -> bool:
    return _text(source, target) in _DJANGO


def _of_target(
    project: Project, source: Python, target: ast.expr, namespace: str | None, read: set[tuple[Python, str]]
) -> Iterator[Given]:
    if isinstance(target, ast.Dict) or (isinstance(target, ast.Name) and target.id in source.values):
        yield from _of_dict(source, target, "config", namespace)
        return
    text = _text(source, target)
    places = [(source, text), *project.modules(text)] if text else []
    for place, name in places:
        if (place, name) in read:
            continue
        if not name:
            read.add((place, name))
            yield from _of_body(place, place.tree.body, namespace)
        else:
            for node in place.nodes:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    read.add((place, name))
                    yield from _of_body(place, node.body, namespace)


def _is_settings_file(source: Python) -> bool:
    parts = module_parts(source.path)
    django = "INSTALLED_APPS" in source.values
    return django or "settings" in parts[-1].lower() or (len(parts) > 1 and parts[-2].lower() == "settings")


def _bodies(source: Python) -> Iterator[list[ast.stmt]]:
    """The module, and its classes, as django-configurations has them."""
    yield source.tree.body
    for node in source.tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.body


def _of_body(
    source: Python, body: list[ast.stmt], namespace: str | None, *, strict: bool = False
) -> Iterator[Given]:
    """The names that a module or a class binds and that are meant as settings. `strict`: only those that surely are."""
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and _meant(target.id, namespace, strict):
                    yield Given(source, target.lineno, target.id, node.value, namespace, "module")
        elif isinstance(node, ast.If | ast.Try | ast.With):
            for field in ("body", "orelse", "finalbody"):
                yield from _of_body(source, getattr(node, field, []), namespace, strict=strict)
            for handler in getattr(node, "handlers", []):
                yield from _of_body(source, handler.body, namespace, strict=strict)


def _meant(name: str, namespace: str | None, strict: bool) -> bool:
    if namespace:
        prefix = namespace + "_"
        known = name.removeprefix(prefix).lower() in SETTINGS or name in OLD_NAMES
        return name.startswith(prefix) and (known or not strict)
    return name in SETTINGS or name in OLD_NAMES or name.lower().startswith(_PREFIXES)
