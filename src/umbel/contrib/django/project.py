"""The app of the Django project."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from umbel import context
from umbel.app import Umbel

__all__ = ["get_app", "project_name"]


def project_name() -> str:
    """The package that holds the settings or the root of the URLs, such as ``mysite``; else ``django``."""
    for path in (getattr(settings, "SETTINGS_MODULE", None), getattr(settings, "ROOT_URLCONF", None)):
        if isinstance(path, str) and path:
            return path.partition(".")[0]
    return "django"


def get_app() -> Umbel:
    """The project's app: the one that it has made (``proj/celery.py``), else one that is named after it."""
    made = context.state.local.get() or context.state.default
    return Umbel(project_name()) if made is None else made


def __getattr__(name: str) -> Any:
    # ``-A umbel.contrib.django.project:app``. Not a Proxy: the command line enters it, and tells apps by their type.
    if name == "app":
        return get_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
