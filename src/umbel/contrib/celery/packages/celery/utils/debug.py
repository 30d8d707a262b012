"""Memory and threads of this process."""

from __future__ import annotations

from umbel.contrib.celery.utils.debug import (
    blockdetection,
    cry,
    hfloat,
    humanbytes,
    mem_rss,
    memdump,
    ps,
    sample,
    sample_mem,
)

__all__ = [
    "blockdetection",
    "cry",
    "hfloat",
    "humanbytes",
    "mem_rss",
    "memdump",
    "ps",
    "sample",
    "sample_mem",
]
