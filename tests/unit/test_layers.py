"""The architecture, kept by a machine: who may import whom, no cycles, no hidden imports, and shapes that stay readable.

The table below is the one in ``docs/architecture.md``. A module that is not in it fails the test: decide where it
belongs, then write it down. Nothing is imported here, the source is read with ``ast``.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

PACKAGE = "umbel"
ROOT = pathlib.Path(__file__).resolve().parents[2] / "src" / PACKAGE


class Layer(NamedTuple):
    """A group of modules with one set of rights."""

    modules: tuple[str, ...]
    """Dotted names below the package; ``x.*`` is everything inside x, ``x`` alone is x itself."""
    may_import: tuple[str, ...] = ()
    """Names of layers. A layer may always import itself, unless ``closed``."""
    third_party: tuple[str, ...] = ()
    closed: bool = False
    """Its top-level members may not import one another (each sub-package may import itself)."""


PURE = ("errors", "core")
BELOW_APP = (
    *PURE,
    "version",
    "ids",
    "faults",
    "ports",
    "flow",
    "codecs",
    "middleware",
    "events",
    "backend table",
)

LAYERS: dict[str, Layer] = {
    "version": Layer(("_version",)),
    "errors": Layer(("errors",)),
    "core": Layer(("core", "core.*"), ("errors",), ("msgspec",)),
    "ids": Layer(("ids",)),  # random, and so not core
    "faults": Layer(("faults",)),  # does nothing, unless a test has asked for more
    "ports": Layer(("ports",), PURE, ("msgspec",)),
    "flow": Layer(("flow", "flow.*"), (*PURE, "ids", "ports"), ("msgspec",)),
    "codecs": Layer(
        ("codecs", "codecs.*"),
        (*PURE, "ids", "ports"),
        ("msgspec", "yaml", "msgpack", "zstandard", "brotli"),
    ),
    "middleware": Layer(("middleware",), (*PURE, "ports"), ("msgspec",)),
    "events": Layer(("events",), (*PURE, "ports"), ("msgspec",)),
    "backend table": Layer(("backends",), (*PURE, "ports")),
    "backend helpers": Layer(("backends._*",), (*PURE, "ids", "faults", "ports"), ("msgspec",)),
    "backends": Layer(
        ("backends.*",),
        (*PURE, "ids", "faults", "ports", "backend helpers"),
        ("msgspec", "apsw", "hiredis"),
        closed=True,
    ),
    "app": Layer(
        (
            "app",
            "arguments",
            "as_celery",
            "builtins",
            "calls",
            "client",
            "config",
            "connections",
            "context",
            "control",
            "discovery",
            "eager",
            "execution",
            "groups",
            "hooks",
            "integration",
            "log",
            "monitoring",
            "options",
            "panel",
            "places",
            "portal",
            "receiving",
            "records",
            "registry",
            "replacing",
            "result",
            "routing",
            "settings",
            "shared",
            "signals",
            "states",
            "task",
            "workflows",
        ),
        BELOW_APP,
        ("msgspec",),
    ),
    "public names": Layer(("",), (*BELOW_APP, "app")),
    "worker": Layer(
        ("worker", "worker.*", "beat"), (*BELOW_APP, "app"), ("msgspec", "uvloop", "gevent", "greenlet")
    ),
    "cli": Layer(
        ("cli", "cli.*", "__main__", "celery"),
        (*BELOW_APP, "app", "worker", "public names"),
        ("msgspec", "click", "apsw", "IPython"),
    ),
    "testing": Layer(
        ("testing", "testing.*"),
        (*BELOW_APP, "app", "worker", "public names", "backend helpers", "backends"),
        ("msgspec", "pytest", "hypothesis"),
    ),
    "contrib": Layer(
        ("contrib", "contrib.*"),
        (*BELOW_APP, "app", "worker", "public names", "cli", "testing", "backend helpers"),
        ("msgspec", "click", "django", "django_tasks", "asgiref", "celery", "pytest", "pydantic"),
    ),
}

# errors and core are given time and chance as arguments, and touch nothing outside.
IMPURE_MODULES = frozenset(
    [
        "asyncio",
        "concurrent",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "random",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
    ]
)
IMPURE_CALLS = frozenset(
    {"now", "utcnow", "today", "uuid1", "uuid4", "urandom", "open", "print", "input", "sleep"}
)

# The lazy table of backends needs no exception (it uses importlib with names that are data); sub-commands do.
HIDDEN_IMPORTS_ALLOWED = ("cli",)

LONGEST_FUNCTION = 60
LONGEST_FILE = 500
LONG_FILE_REASON = "Long because"  # a module docstring says so, and why
MOST_PARAMETERS = 7
# Signatures that mirror Celery's, where a caller names what it means: "module:qualified.name".
WIDE_SIGNATURES: frozenset[str] = frozenset()
LONG_FUNCTIONS: frozenset[str] = frozenset()


class Import(NamedTuple):
    target: str
    """A module of the project, relative to the package, or the top-level name of another one."""
    own: bool
    line: int
    typing_only: bool
    inside: str
    """The function that hides it, or ''."""


class Module(NamedTuple):
    name: str
    """Relative to the package; '' is the package itself."""
    path: pathlib.Path
    tree: ast.Module
    imports: tuple[Import, ...]

    def at(self, line: int) -> str:
        return f"{self.path.relative_to(ROOT.parent.parent)}:{line}"


@functools.cache
def modules() -> dict[str, Module]:
    paths = {_name(path): path for path in sorted(ROOT.rglob("*.py"))}
    result = {}
    for name, path in paths.items():
        tree = ast.parse(path.read_text(), str(path))
        result[name] = Module(name, path, tree, tuple(_imports(tree, name, path, frozenset(paths))))
    return result


def _name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.Module, name: str, path: pathlib.Path, known: frozenset[str]) -> Iterator[Import]:
    for node, typing_only, inside in _walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, name, path)
            # "from umbel.core import frame" reads a module, "from umbel.core.frame import Frame" a name in one
            targets = [
                f"{base}.{alias.name}" if _relative(f"{base}.{alias.name}") in known else base
                for alias in node.names
            ]
        elif isinstance(node, ast.Call) and _literal_import(node):
            targets = [_literal_import(node)]
        else:
            continue
        for target in targets:
            own = target == PACKAGE or target.startswith(PACKAGE + ".")
            yield Import(
                _relative(target) if own else target.partition(".")[0], own, node.lineno, typing_only, inside
            )


def _walk(tree: ast.Module) -> Iterator[tuple[ast.stmt | ast.Call, bool, str]]:
    """Every statement and call, with whether it stands under TYPE_CHECKING and in which function."""

    def visit(
        node: ast.AST, typing_only: bool, inside: str
    ) -> Iterator[tuple[ast.stmt | ast.Call, bool, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt | ast.Call):
                yield child, typing_only, inside
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from visit(child, typing_only, child.name)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for stmt in child.body:
                    yield stmt, True, inside
                    yield from visit(stmt, True, inside)
                for stmt in child.orelse:
                    yield stmt, typing_only, inside
                    yield from visit(stmt, typing_only, inside)
            else:
                yield from visit(child, typing_only, inside)

    return visit(tree, False, "")


def _absolute(node: ast.ImportFrom, name: str, path: pathlib.Path) -> str:
    if not node.level:
        return node.module or ""
    package = [PACKAGE, *name.split(".")] if name else [PACKAGE]
    if path.name != "__init__.py":
        package.pop()
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def _literal_import(node: ast.Call) -> str:
    called = ast.unparse(node.func)
    if called.rpartition(".")[2] in ("import_module", "__import__") and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return first.value
    return ""


def _relative(target: str) -> str:
    return target.removeprefix(PACKAGE).removeprefix(".")


def layer_of(module: str) -> str | None:
    """The layer whose pattern fits best: an exact name before the longest ``x.*``."""
    best, length = None, -1
    for layer, rule in LAYERS.items():
        for pattern in rule.modules:
            if pattern == module:
                return layer
            stem = pattern.removesuffix("*")
            if pattern.endswith("*") and module.startswith(stem) and len(stem) > length:
                best, length = layer, len(stem)
    return best


def functions(
    tree: ast.AST, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, child
            yield from functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{prefix}{child.name}.")
        else:
            yield from functions(child, prefix)


def none_of(violations: list[str]) -> None:
    assert not violations, "\n".join(["", *violations])


# ------------------------------------------------------------------------------------------------ imports


def test_every_module_has_a_layer() -> None:
    none_of(
        [f"{module.at(1)} is in no layer" for name, module in modules().items() if layer_of(name) is None]
    )


def test_layers_import_only_what_they_may() -> None:
    violations = []
    for name, module in modules().items():
        layer = layer_of(name)
        for imported in module.imports:
            if not imported.own or layer is None:
                continue
            target = layer_of(imported.target)
            if target == layer:
                if LAYERS[layer].closed and imported.target.split(".")[1] != name.split(".")[1]:
                    violations.append(
                        f"{module.at(imported.line)} {name} imports its neighbour {imported.target}"
                    )
            elif target not in LAYERS[layer].may_import:
                violations.append(
                    f"{module.at(imported.line)} {name or PACKAGE} ({layer}) imports {imported.target or PACKAGE} ({target})"
                )
    none_of(violations)


def test_third_party_packages_stay_where_they_belong() -> None:
    violations = []
    for name, module in modules().items():
        layer = layer_of(name)
        allowed = LAYERS[layer].third_party if layer else ()
        violations += [
            f"{module.at(imported.line)} {name} ({layer}) imports {imported.target}"
            for imported in module.imports
            if not imported.own
            and imported.target not in sys.stdlib_module_names
            and imported.target not in allowed
        ]
    none_of(violations)


@pytest.mark.parametrize("layer", PURE)
def test_the_pure_layers_know_no_clock_no_chance_and_no_world(layer: str) -> None:
    violations = []
    for name, module in modules().items():
        if layer_of(name) != layer:
            continue
        violations += [
            f"{module.at(imported.line)} {name} imports {imported.target}"
            for imported in module.imports
            if not imported.own and imported.target in IMPURE_MODULES
        ]
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func).rpartition(".")[2]
                if called in IMPURE_CALLS:
                    violations.append(f"{module.at(node.lineno)} {name} calls {called}()")
    none_of(violations)


def test_no_import_cycle() -> None:
    """Imports for type checkers alone do not count: they are not there at run time."""
    known = modules()
    graph = {
        name: {
            i.target
            for i in module.imports
            if i.own and not i.typing_only and not i.inside and i.target in known
        }
        - {name}
        for name, module in known.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as exc:
        pytest.fail("import cycle: " + " -> ".join(f"{PACKAGE}.{name}" for name in reversed(exc.args[1])))


def test_no_project_import_hides_in_a_function() -> None:
    none_of(
        [
            f"{module.at(imported.line)} {name} imports {imported.target or PACKAGE} inside {imported.inside}()"
            for name, module in modules().items()
            if name.partition(".")[0] not in HIDDEN_IMPORTS_ALLOWED
            for imported in module.imports
            if imported.own and imported.inside
        ]
    )


# ------------------------------------------------------------------------------------------------- shapes


def test_functions_are_short() -> None:
    violations = []
    for name, module in modules().items():
        for qualname, function in functions(module.tree):
            length = (function.end_lineno or 0) - function.lineno + 1
            if length > LONGEST_FUNCTION and f"{name}:{qualname}" not in LONG_FUNCTIONS:
                violations.append(f"{module.at(function.lineno)} {qualname} has {length} lines")
    none_of(violations)


def test_signatures_are_narrow() -> None:
    violations = []
    for name, module in modules().items():
        for qualname, function in functions(module.tree):
            args = function.args
            count = sum(
                a.arg not in ("self", "cls") for a in [*args.posonlyargs, *args.args, *args.kwonlyargs]
            )
            if count > MOST_PARAMETERS and f"{name}:{qualname}" not in WIDE_SIGNATURES:
                violations.append(f"{module.at(function.lineno)} {qualname} has {count} parameters")
    none_of(violations)


def test_long_files_say_why() -> None:
    violations = []
    for module in modules().values():
        count = len(module.path.read_text().splitlines())
        if count > LONGEST_FILE and not re.search(LONG_FILE_REASON, ast.get_docstring(module.tree) or ""):
            violations.append(
                f"{module.at(1)} has {count} lines, and its docstring does not say {LONG_FILE_REASON!r}"
            )
    none_of(violations)


def test_the_allowances_are_still_needed() -> None:
    present = {
        f"{name}:{qualname}" for name, module in modules().items() for qualname, _ in functions(module.tree)
    }
    none_of(
        [f"{allowed} is no longer there" for allowed in sorted((WIDE_SIGNATURES | LONG_FUNCTIONS) - present)]
    )


# ----------------------------------------------------------------------------------------- the checks themselves


def test_imports_of_every_form_are_seen() -> None:
    source = """
from __future__ import annotations
import msgspec.json
import umbel.ports
from umbel import errors
from . import crew
from ..core.frame import Frame
if TYPE_CHECKING:
    from umbel.app import Umbel
class C:
    def f(self):
        if True:
            from umbel.client import Client
        importlib.import_module("umbel.result")
"""
    known = frozenset(
        {"", "errors", "ports", "core.frame", "worker", "worker.crew", "app", "client", "result"}
    )
    found = list(_imports(ast.parse(source), "worker.node", ROOT / "worker" / "node.py", known))
    assert [(i.target, i.typing_only, i.inside) for i in found if i.own] == [
        ("ports", False, ""),
        ("errors", False, ""),
        ("worker.crew", False, ""),
        ("core.frame", False, ""),
        ("app", True, ""),
        ("client", False, "f"),
        ("result", False, "f"),
    ]
    assert [i.target for i in found if not i.own] == ["__future__", "msgspec"]


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        ("", "public names"),
        ("core.frame", "core"),
        ("backends", "backend table"),
        ("backends.redis", "backends"),
        ("backends.redis.keys", "backends"),
        ("backends._common_options", "backend helpers"),
        ("cli.worker", "cli"),
        ("nowhere", None),
    ],
)
def test_modules_find_their_layer(module: str, layer: str | None) -> None:
    assert layer_of(module) == layer


# ------------------------------------------------------------------------------------------- what importing costs

LIGHT = "from umbel import Umbel; Umbel('light')"
DRIVERS = ("apsw", "redis", "hiredis", "click", "yaml", "msgpack", "uvloop", "gevent", "django", "celery")


@pytest.mark.parametrize("statement", ["import umbel", LIGHT])
def test_importing_loads_no_driver(statement: str) -> None:
    program = f"import sys; {statement}; print(*(m for m in {DRIVERS} if m in sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert loaded.split() == []
