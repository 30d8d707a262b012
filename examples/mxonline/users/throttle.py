"""Tries are counted, so that nobody can make many. In Django's cache: share one between processes in production.

What a try is for is looked at after it has been counted: of many at the same time, no more get through.
"""

import hashlib

from django.core.cache import cache
from django.http import HttpRequest

from .models import User

MOST_FAILURES = 10
"""Wrong passwords for an account, from one place in the network. Not from anywhere: strangers could lock its owner out."""
WINDOW = 300
"""Seconds."""
MOST_CODES = 10
"""Codes that somebody can try, whatever addresses they were mailed to."""
CODE_WINDOW = 3600
"""Seconds."""


def may_try_password(request: HttpRequest, email: str) -> bool:
    """Count a try; False: there have been too many wrong ones lately."""
    return _count(_password_key(request, email), WINDOW) <= MOST_FAILURES


def password_was_right(request: HttpRequest, email: str) -> None:
    cache.delete(_password_key(request, email))


def may_try_code(user: User) -> bool:
    """Count a try; False: there have been too many lately, right or wrong."""
    return _count(f"codes:{user.pk}", CODE_WINDOW) <= MOST_CODES


def _count(key: str, seconds: int) -> int:
    cache.add(key, 0, seconds)
    try:
        return int(cache.incr(key))
    except ValueError:  # it has just expired
        cache.add(key, 1, seconds)
        return 1


def _password_key(request: HttpRequest, email: str) -> str:
    # Behind a proxy, let the server put the visitor's address there.
    place = request.META.get("REMOTE_ADDR", "")
    return "failures:" + hashlib.sha256(f"{email.lower()} {place}".encode()).hexdigest()
