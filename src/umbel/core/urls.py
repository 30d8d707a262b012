"""URLs of brokers and stores, as people may see them."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

__all__ = ["mask_url"]


def mask_url(url: str) -> str:
    """`url` with its password replaced by ``***``, fit for logs, pages and errors.

    >>> mask_url("redis://:secret@localhost:6379/0")
    'redis://:***@localhost:6379/0'
    """
    return ";".join(_mask_one(part) for part in url.split(";"))


def _mask_one(url: str) -> str:
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url
    user, colon, _password = userinfo.partition(":")
    if not colon:
        return url
    return urlunsplit(parts._replace(netloc=f"{user}:***@{host}"))
