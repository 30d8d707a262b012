"""The pytest plugin: ``pytest -p celery.contrib.pytest``."""

from umbel.contrib.celery.fixtures import *  # noqa: F403
