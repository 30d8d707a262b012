"""Umbel's priorities and Celery's: -100..100 where larger is sooner, and the four Redis lists 0, 3, 6, 9 where 0 is sooner."""

from __future__ import annotations

from typing import Any

from umbel.core.envelope import PRIORITY_MAX, PRIORITY_MIN
from umbel.core.frame import PRIORITY_HEADER, Frame

__all__ = ["CELERY_STEPS", "celery_priority", "frame_priority", "umbel_priority"]

CELERY_STEPS = (0, 3, 6, 9)
"""The priorities that have a list of their own on Celery's Redis; the numbers between them are rounded down."""

_FROM_CELERY = (0, 0, 0, -33, -33, -33, -66, -66, -66, -100)


def celery_priority(priority: int) -> int:
    """Celery's step for one of our priorities; it keeps the order of service.

    Nothing is sooner than 0 on Celery's lists, and 0 is what a call without a priority gets: all of ours from 0 up
    share it, and only the header tells them apart.

    >>> [celery_priority(p) for p in (100, 0, -1, -33, -34, -66, -67, -100)]
    [0, 0, 3, 3, 6, 6, 9, 9]
    """
    if priority >= 0:
        return 0
    if priority >= -33:
        return 3
    return 6 if priority >= -66 else 9


def umbel_priority(number: int) -> int:
    """Our priority for a number that Celery wrote. What lies outside 0..9 counts as the nearer end.

    >>> [umbel_priority(n) for n in (0, 2, 3, 6, 9)]
    [0, 0, -33, -66, -100]
    """
    return _FROM_CELERY[number] if 0 <= number <= 9 else _FROM_CELERY[0 if number < 0 else 9]


def frame_priority(frame: Frame) -> int:
    """Our priority of any frame: the exact one of its header, else what its Celery priority stands for.

    Whatever is not an integer counts as 0: a broker must be able to file every message that it is given.
    """
    exact: Any = frame.headers.get(PRIORITY_HEADER)
    if isinstance(exact, int):
        return min(max(exact, PRIORITY_MIN), PRIORITY_MAX)
    number: Any = frame.properties.get("priority")
    return umbel_priority(number) if isinstance(number, int) else 0
