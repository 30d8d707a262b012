"""Helpers."""

# Without "from __future__ import annotations": there is a module of that name in here.

from functools import cached_property

from umbel.contrib.celery.logs import LOG_LEVELS
from umbel.contrib.celery.utils.functional import chunks, memoize, noop
from umbel.contrib.celery.utils.imports import gen_task_name, import_from_cwd, instantiate
from umbel.contrib.celery.utils.imports import qualname as get_full_cls_name
from umbel.contrib.celery.utils.imports import symbol_by_name as get_cls_by_name
from umbel.contrib.celery.utils.nodenames import nodename, nodesplit, worker_direct
from umbel.ids import new_id as gen_unique_id
from umbel.ids import new_id as uuid

__all__ = [
    "LOG_LEVELS",
    "cached_property",
    "chunks",
    "gen_task_name",
    "gen_unique_id",
    "get_cls_by_name",
    "get_full_cls_name",
    "import_from_cwd",
    "instantiate",
    "memoize",
    "nodename",
    "nodesplit",
    "noop",
    "uuid",
    "worker_direct",
]
