"""The part of billiard that programs for Celery import."""

from __future__ import annotations

from multiprocessing import Process, current_process

__all__ = ["Process", "current_process"]
