"""The part of billiard that programs for Celery import."""

from __future__ import annotations

from multiprocessing import Process, cpu_count, current_process

__all__ = ["VERSION", "Process", "cpu_count", "current_process"]

VERSION = (4, 2, 4)
__version__ = "4.2.4"
