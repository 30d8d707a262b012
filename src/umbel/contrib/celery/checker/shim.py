"""What Umbel has under Celery's names, read from the directory that stands for Celery."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from umbel.as_celery import PACKAGES

__all__ = ["ROOTS", "Shim"]

ROOTS = ("celery", "kombu", "billiard")
"""The packages that Umbel stands for."""


class Shim:
    """A directory of packages."""

    def __init__(self, root: str | Path = PACKAGES) -> None:
        self._root = Path(root)
        self._module = functools.cache(self._read)

    def has_module(self, module: str) -> bool:
        """Whether ``import module`` works."""
        return self._module(module) is not None

    def has_name(self, module: str, name: str) -> bool:
        """Whether ``from module import name`` works; so it does in a module that answers for any name."""
        names = self._module(module)
        return names is not None and (name in names or "*" in names or self.has_module(f"{module}.{name}"))

    def unsent_signals(self) -> frozenset[str]:
        """Signals that exist under their name only: made in ``celery.signals``, where nothing of Umbel sends them."""
        path = self._file("celery.signals")
        if path is None:
            return frozenset()
        return frozenset(
            target.id
            for node in ast.parse(path.read_bytes()).body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
            for target in node.targets
            if isinstance(target, ast.Name)
        )

    def missing_part(self, dotted: str) -> tuple[str, str] | None:
        """The module and the name at which ``celery.a.b`` ends in nothing; None when it does not."""
        parts = dotted.split(".")
        module = parts[0]
        for name in parts[1:]:
            if self.has_module(f"{module}.{name}"):
                module = f"{module}.{name}"
                continue
            return None if self.has_name(module, name) else (module, name)
        return None

    def _file(self, module: str) -> Path | None:
        stem = self._root.joinpath(*module.split("."))
        for path in (stem / "__init__.py", stem.with_name(stem.name + ".py")):
            if path.is_file():
                return path
        return None

    def _read(self, module: str) -> frozenset[str] | None:
        path = self._file(module)
        if path is not None:
            return frozenset(_names(ast.parse(path.read_bytes()).body)) | {"__file__", "__name__", "__doc__"}
        return frozenset() if self._root.joinpath(*module.split(".")).is_dir() else None


def _names(body: list[ast.stmt]) -> Iterator[str]:
    """What a module binds at its top level; ``*`` when that cannot be known."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield "*" if node.name == "__getattr__" else node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))
                if isinstance(target, ast.Name) and target.id == "__all__":
                    yield from _strings(node.value)
        elif isinstance(node, ast.If | ast.Try | ast.With):
            for field in ("body", "orelse", "finalbody"):
                yield from _names(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from _names(handler.body)


def _strings(node: ast.expr | None) -> Iterator[str]:
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
