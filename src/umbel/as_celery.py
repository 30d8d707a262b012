"""``install_as_celery()``: from here on ``import celery`` means Umbel."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from umbel.errors import ConfigurationError

__all__ = ["PACKAGES", "install_as_celery"]

PACKAGES = str(Path(__file__).parent / "contrib" / "celery" / "packages")
"""The directory that holds Umbel under the names of Celery and kombu."""
_NAMES = ("celery", "kombu", "billiard", "vine")


def install_as_celery() -> None:
    """Let ``import celery`` and ``import kombu`` find Umbel, in this process and in those that it starts.

    ::

        import umbel

        umbel.install_as_celery()

        from celery import Celery, shared_task

    It puts a directory in front of ``sys.path`` and of the environment variable ``PYTHONPATH``, and nothing else: it is cheap, may
    be called any number of times, and from ``sitecustomize``. Celery may be installed or not. Raises ConfigurationError when the
    real one has been imported already: half a program would use it.
    """
    for name in _NAMES:
        loaded = sys.modules.get(name)
        where = getattr(loaded, "__file__", None) or ""
        if loaded is not None and not where.startswith(PACKAGES):
            raise ConfigurationError(
                f"install_as_celery() comes too late: {name} has been imported from {where or 'elsewhere'}. Call it "
                "before anything that imports Celery, or start the program with `python -m umbel.celery`."
            )
    sys.path[:] = [PACKAGES, *(entry for entry in sys.path if entry != PACKAGES)]
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [PACKAGES, *(entry for entry in inherited if entry and entry != PACKAGES)]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
