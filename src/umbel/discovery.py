"""Modules by name: what a script is called, and what stands beside a package."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from types import ModuleType

from umbel.errors import UmbelWarning

__all__ = ["import_related", "script_module"]


def script_module() -> str:
    """What the running script is called as a module, so that a worker that imports it finds the same names."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return "" if path is None else os.path.splitext(os.path.basename(path))[0]


def import_related(package: str, related_name: str) -> None:
    """Import ``package.related_name``. That there is none is no error; anything else that fails is."""
    importlib.import_module(package)
    name = f"{package}.{related_name}" if related_name else package
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name != name:
            raise
    else:
        _warn_of_celerys(module)


def _warn_of_celerys(module: ModuleType) -> None:
    """Tasks that were made with Celery's decorators belong to Celery's app: no worker of ours would ever run them."""
    celerys = [
        name
        for name, value in vars(module).items()
        if type(value).__module__ == "celery.local" and getattr(value, "__module__", "") == module.__name__
    ]
    if celerys:
        warnings.warn(
            f"{module.__name__} has tasks of Celery's, which no worker of Umbel runs: {', '.join(sorted(celerys))}. Change "
            "`from celery import shared_task` to `from umbel import shared_task` there.",
            UmbelWarning,
            stacklevel=2,
        )
