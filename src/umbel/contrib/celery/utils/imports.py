"""``celery.utils.imports``: objects by their names."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

__all__ = [
    "NotAPackage",
    "cwd_in_path",
    "find_module",
    "gen_task_name",
    "import_from_cwd",
    "instantiate",
    "load_extension_class_names",
    "load_extension_classes",
    "module_file",
    "qualname",
    "reload_from_cwd",
    "symbol_by_name",
]


class NotAPackage(Exception):
    """What should hold a module is one itself."""


def qualname(obj: Any) -> str:
    """The name of a function or class with its module; of another object that of its class."""
    if not hasattr(obj, "__name__") and hasattr(obj, "__class__"):
        obj = type(obj)
    name: str = getattr(obj, "__qualname__", obj.__name__)
    return name if "." in name else f"{obj.__module__}.{name}"


def symbol_by_name(
    name: Any,
    aliases: Mapping[str, str] | None = None,
    imp: Callable[..., Any] | None = None,
    package: str | None = None,
    sep: str = ".",
    default: Any = None,
    **kwargs: Any,
) -> Any:
    """The object ``package.module:name`` (or ``package.module.name``). What is no string is returned as it is.

    With a `default`, that is returned when there is no such module or object.
    """
    if not isinstance(name, str):
        return name
    name = (aliases or {}).get(name) or name
    module, _, attribute = name.rpartition(":" if ":" in name else sep)
    if not module:
        module, attribute = (package, attribute) if package else (attribute, "")
    try:
        found = (imp or importlib.import_module)(module, package=package, **kwargs)
        return getattr(found, attribute) if attribute else found
    except (ImportError, AttributeError):
        if default is None:
            raise
        return default


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """Call the class of that name."""
    return symbol_by_name(name)(*args, **kwargs)


@contextmanager
def cwd_in_path() -> Iterator[None]:
    """Within this block modules are looked for in the current directory too."""
    here = os.getcwd()
    if here in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def find_module(module: str, path: Any = None, imp: Callable[..., ModuleType] | None = None) -> ModuleType:
    """Import a module, the packages above it first."""
    imp = imp or importlib.import_module
    with cwd_in_path():
        package, _, _ = module.rpartition(".")
        if package and package not in sys.modules:
            parent = find_module(package, path, imp)
            if not hasattr(parent, "__path__"):
                raise NotAPackage(package)
        return imp(module)


def import_from_cwd(
    module: str, imp: Callable[..., ModuleType] | None = None, package: str | None = None
) -> ModuleType:
    """Import a module, of the current directory first."""
    with cwd_in_path():
        return (imp or importlib.import_module)(module, package=package)


def reload_from_cwd(module: ModuleType, reloader: Callable[[ModuleType], Any] | None = None) -> Any:
    """Load a module anew."""
    with cwd_in_path():
        return (reloader or importlib.reload)(module)


def module_file(module: ModuleType) -> str:
    """The source file of a module."""
    name = module.__file__ or ""
    return name[:-1] if name.endswith((".pyc", ".pyo")) else name


def gen_task_name(app: Any, name: str, module_name: str | None) -> str:
    """The name of the task `name` in that module; of a script, the name of the app stands for the module."""
    if module_name == "__main__" and app is not None and app.main:
        module_name = app.main
    return ".".join(part for part in (module_name or "__main__", name) if part)


def load_extension_class_names(namespace: str) -> Iterator[tuple[str, str]]:
    """Names and places of what installed packages offer in an entry point group."""
    for entry in entry_points(group=namespace):
        yield entry.name, entry.value


def load_extension_classes(namespace: str) -> Iterator[tuple[str, Any]]:
    """Names and classes of the same. One that cannot be imported is left out with a warning."""
    for name, place in load_extension_class_names(namespace):
        try:
            found = symbol_by_name(place)
        except (ImportError, SyntaxError) as exc:
            warnings.warn(f"The extension {place!r} of {namespace} cannot be loaded: {exc!r}", stacklevel=2)
        else:
            yield name, found
