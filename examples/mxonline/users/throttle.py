"""Wrong passwords are counted, so that nobody can try many. In Django's cache: share one between processes in production."""

from django.core.cache import cache

MOST_FAILURES = 10
WINDOW = 300
"""Seconds."""


def is_blocked(email: str) -> bool:
    """Whether too many wrong passwords have been tried for this account lately."""
    return int(cache.get(_key(email), 0)) >= MOST_FAILURES


def count_failure(email: str) -> None:
    cache.set(_key(email), int(cache.get(_key(email), 0)) + 1, WINDOW)


def _key(email: str) -> str:
    return "failures:" + email.lower().encode().hex()
