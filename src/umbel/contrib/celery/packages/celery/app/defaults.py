"""The table of settings."""

from __future__ import annotations

from umbel.contrib.celery.defaults import (
    DEFAULT_ACCEPT_CONTENT,
    DEFAULT_POOL,
    DEFAULT_PROCESS_LOG_FMT,
    DEFAULT_SECURITY_DIGEST,
    DEFAULT_TASK_LOG_FMT,
    DEFAULTS,
    NAMESPACES,
    OLD_NS,
    OLD_NS_BEAT,
    OLD_NS_WORKER,
    SETTING_KEYS,
    Option,
    find,
    flatten,
    searchresult,
)

__all__ = [
    "DEFAULTS",
    "DEFAULT_ACCEPT_CONTENT",
    "DEFAULT_POOL",
    "DEFAULT_PROCESS_LOG_FMT",
    "DEFAULT_SECURITY_DIGEST",
    "DEFAULT_TASK_LOG_FMT",
    "NAMESPACES",
    "OLD_NS",
    "OLD_NS_BEAT",
    "OLD_NS_WORKER",
    "SETTING_KEYS",
    "Option",
    "find",
    "flatten",
    "searchresult",
]
