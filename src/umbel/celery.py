"""``python -m umbel.celery``: run a program that was written for Celery.

====================================================  =============================================
``python -m umbel.celery -A proj worker -l info``     what ``celery -A proj worker -l info`` was
``python -m umbel.celery -m pytest tests``            a module, as ``python -m`` runs it
``python -m umbel.celery manage.py runserver``        a script
====================================================  =============================================
"""

from __future__ import annotations

import os
import runpy
import sys

from umbel.as_celery import install_as_celery
from umbel.cli import main


def run() -> None:
    """Run what the command line names, with Umbel in the place of Celery."""
    install_as_celery()
    arguments = sys.argv[1:]
    if len(arguments) > 1 and arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments and arguments[0].endswith(".py"):
        sys.argv = arguments
        # As Python does it: the directory of the script comes first, but a celery.py beside it is not the package.
        sys.path.insert(1, os.path.dirname(os.path.abspath(arguments[0])))
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        main()


if __name__ == "__main__":
    run()
