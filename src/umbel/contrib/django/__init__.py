"""Umbel for Django: ``INSTALLED_APPS += ["umbel.contrib.django"]`` is enough.

The names below may be imported before Django is set up; each is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from umbel.contrib.django.references import ref
    from umbel.contrib.django.task_backend import TaskBackend

__all__ = ["TaskBackend", "ref"]

_NAMES: dict[str, str] = {"TaskBackend": "task_backend", "ref": "references"}
"""Public name -> the module here that has it."""


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
