"""Queues of ``TASKS`` as queues of Umbel."""

from __future__ import annotations

from collections.abc import Iterator

from umbel.app import Umbel
from umbel.config import Config
from umbel.contrib.django.tasks_api.declared import umbel_backends
from umbel.routing import declared_queues

__all__ = ["queue_of", "queues_of_backends"]

_DEFAULT = "default"


def queue_of(app: Umbel, name: str) -> str:
    """The queue that stands for `name`: itself, and for Django's "default" that of Umbel (``task_default_queue``)."""
    return _queue(app.conf, name)


def queues_of_backends(conf: Config) -> Iterator[str]:
    """The queues that the backends name, whose tasks would else wait for a worker that is told of them."""
    for backend in umbel_backends().values():
        for name in sorted(backend.queues):
            yield _queue(conf, name)


def _queue(conf: Config, name: str) -> str:
    if name != _DEFAULT or name in declared_queues(conf):
        return name
    default: str = conf.task_default_queue
    return default
