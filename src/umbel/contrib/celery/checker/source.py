"""Files as text, and Python files as trees in which names can be looked up. Nothing is imported."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from umbel.cli.findings import Finding
from umbel.contrib.celery.checker.rules import RULES

__all__ = ["UNKNOWN", "Python", "Text"]

_IGNORE = re.compile(r"#\s*umbel:\s*ignore\b(?:\[([^\]]*)\])?")
_LARGEST = 4_000_000

UNKNOWN: Any = object()
"""The value of an expression that is only known when the program runs."""


class Text:
    """A file. What is found in it is kept in `findings`, unless a comment on the line silences it."""

    def __init__(self, path: Path, shown: str) -> None:
        self.path = path
        self.shown = shown
        self.findings: list[Finding] = []
        self.celery = False
        """Whether it has to do with Celery."""
        self.project_has_celery = False
        """Whether any file beside it has."""
        self.data = b""
        try:
            if not path.is_file():
                self.unreadable("it is not a regular file")
            elif path.stat().st_size > _LARGEST:
                self.unreadable(f"it is larger than {_LARGEST // 1_000_000} MB")
            else:
                self.data = path.read_bytes()
        except OSError as exc:
            self.unreadable((exc.strerror or str(exc)).lower())
        self.lines = self._decoded().splitlines()

    def _decoded(self) -> str:
        return self.data.decode("utf-8", "replace")

    def say(self, rule_id: str, line: int, **words: str) -> None:
        """Keep a finding."""
        rule = RULES[rule_id]
        if self._silenced(line, rule_id):
            return
        message, advice = rule.sentence.format_map(words), rule.advice.format_map(words)
        found = Finding(self.shown, line, rule_id, rule.severity, message, advice)
        if found not in self.findings:
            self.findings.append(found)

    def unreadable(self, why: str, line: int = 1) -> None:
        """The file, or the rest of it, was not understood."""
        rule = RULES["unreadable"]
        message = rule.sentence.format(why=why.rstrip("."))
        self.findings.append(Finding(self.shown, line, rule.id, rule.severity, message, rule.advice))

    def _silenced(self, line: int, rule_id: str) -> bool:
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        match = _IGNORE.search(text)
        if match is None:
            return False
        return match[1] is None or rule_id in re.split(r"[\s,]+", match[1])


class Python(Text):
    """A module. One that does not parse is empty, and says why."""

    def __init__(self, path: Path, shown: str) -> None:
        super().__init__(path, shown)
        self._read(self._parsed())

    def clear(self) -> None:
        """Go on as if it were empty."""
        self._read(ast.Module([], []))

    def _read(self, tree: ast.Module) -> None:
        self.tree = tree
        self.names: dict[str, str] = {}
        """What imported names stand for: ``{"C": "celery.Celery", "app": ".celery.app"}``."""
        self.values: dict[str, ast.expr] = {}
        """What is assigned to plain names, anywhere in the file; the last wins."""
        self.nodes: list[ast.AST] = list(ast.walk(self.tree))
        for node in self.nodes:
            self._learn(node)

    def _decoded(self) -> str:
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(self.data).readline)
            return self.data.decode(encoding, "replace")
        except (SyntaxError, LookupError):
            return super()._decoded()

    def _parsed(self) -> ast.Module:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes and the like: they are the program's business
                return ast.parse(self.data)
        except SyntaxError as exc:
            self.unreadable(f"it is not Python of this version ({exc.msg})", exc.lineno or 1)
        except (ValueError, LookupError, RecursionError, MemoryError) as exc:
            self.unreadable(f"it cannot be parsed ({exc or type(exc).__name__})")
        return ast.Module([], [])

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                self.names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            joint = "" if module.endswith(".") else "."
            for alias in node.names:
                self.names[alias.asname or alias.name] = f"{module}{joint}{alias.name}"
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    self.values[target.id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            self.values[node.target.id] = node.value

    def dotted(self, node: ast.AST | None) -> str:
        """``celery.app.Celery`` for a name or a chain of attributes, with imported names written out; '' for others."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.names.get(node.id, node.id), *reversed(parts)])

    def value(self, node: ast.expr | None, depth: int = 5) -> Any:
        """The value of a literal, of a name that stands for one, or of the default of a look-up; else UNKNOWN."""
        if isinstance(node, ast.Name) and depth:
            return self.value(self.values.get(node.id), depth - 1)
        try:
            return UNKNOWN if node is None else ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return UNKNOWN

    def texts(self, node: ast.AST | None, depth: int = 5) -> Iterator[tuple[str, int]]:
        """The strings from which an expression may make its value, with their lines: the beginning of an f-string, the
        default of ``os.environ.get("X", "redis://")``, both sides of ``or``."""
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield node.value, node.lineno
        elif isinstance(node, ast.Name):
            if depth and node.id in self.values:
                yield from self.texts(self.values[node.id], depth - 1)
        elif isinstance(node, ast.JoinedStr):
            yield from self.texts(node.values[0] if node.values else None, depth)
        elif isinstance(node, ast.BinOp):
            yield from self.texts(node.left, depth)
        elif isinstance(node, ast.BoolOp | ast.List | ast.Tuple):
            for part in node.values if isinstance(node, ast.BoolOp) else node.elts:
                yield from self.texts(part, depth)
        elif isinstance(node, ast.IfExp):
            yield from self.texts(node.body, depth)
            yield from self.texts(node.orelse, depth)
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr == "format":
                yield from self.texts(node.func.value, depth)
            for part in (*node.args[1:], *(kw.value for kw in node.keywords if kw.arg == "default")):
                yield from self.texts(part, depth)
