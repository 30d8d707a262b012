"""Apps."""

# Without "from __future__ import annotations": there is a module of that name in here.

from umbel.context import get_current_app as app_or_default_app
from umbel.contrib.celery.app import Celery
from umbel.shared import shared_task

__all__ = ["Celery", "app_or_default", "app_or_default_app", "shared_task"]


def app_or_default(app: Celery | None = None) -> Celery:
    """`app`, or the current one."""
    return app or app_or_default_app()  # type: ignore[return-value]
