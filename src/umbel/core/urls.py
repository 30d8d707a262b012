"""URLs of brokers and stores, as people may see them."""

from __future__ import annotations

import re
from urllib.parse import unquote

__all__ = ["mask_url"]

_HIDDEN = "***"
_START = re.compile(r"\s*([A-Za-z][\w+.-]*)://")
_USER = re.compile(r"[^:/?#;\s]*")
_AUTHORITY = re.compile(r"[^/?#]*")
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(:\d*)?")
_SECRET = re.compile(
    r"passw|passphrase|secret|token|credential|(^|[_.-])(pass|pwd|auth|(api)?key)$", re.IGNORECASE
)


def mask_url(url: str) -> str:
    """`url` with its passwords replaced by ``***``, fit for logs, pages and errors.

    Whatever stands before the last ``@`` of a URL counts as its login, and a value in its query that is called a
    password, a secret, a token or a key is hidden. A URL that is not well formed, as one with a ``#`` or a ``/`` in
    its password, loses more than it must rather than less. Several URLs may be joined by ``;``.

    >>> mask_url("redis://:secret@localhost:6379/0")
    'redis://:***@localhost:6379/0'
    >>> mask_url("redis://localhost/0?password=secret&socket_timeout=3")
    'redis://localhost/0?password=***&socket_timeout=3'
    """
    begins = _START.match(url)
    if begins is None:
        return _mask_login(url)
    # A password may hold a ';' too: only where the same scheme begins again does another URL begin.
    parts = re.split(rf";(?=\s*{re.escape(begins[1])}://)", url)
    return ";".join(_mask_one(part, _START.match(part)) for part in parts)


def _mask_one(url: str, begins: re.Match[str] | None) -> str:
    if begins is None:
        return _mask_login(url)
    rest = url[begins.end() :]
    # Three slashes: a path, which may hold an '@', and no login.
    shown = _mask_query(rest) if rest.startswith("/") else _mask_login(rest)
    return begins[0] + shown


def _mask_login(rest: str) -> str:
    """What follows the scheme."""
    login, at, place = rest.rpartition("@")
    if not at:
        return _mask_place(rest)
    user, colon, _ = login.partition(":")
    if not _USER.fullmatch(user):
        return f"{_HIDDEN}@{_mask_place(place)}"
    return f"{user}{colon}{_HIDDEN if colon else ''}@{_mask_place(place)}"


def _mask_place(place: str) -> str:
    """Host, path and query. What stands where the port belongs and is none is perhaps half of a password."""
    found = _AUTHORITY.match(place)
    authority = found[0] if found else ""
    for host in authority.split(";"):
        if not _HOST.fullmatch(host):
            return f"{place.partition(':')[0]}:{_HIDDEN}"
    return authority + _mask_query(place[len(authority) :])


def _mask_query(tail: str) -> str:
    """Path and query. A piece without a name belongs to the value before it."""
    pieces = re.split(r"([?&])", tail)
    hiding = False
    for at in range(2, len(pieces), 2):
        name, equals, _ = pieces[at].partition("=")
        if equals:
            hiding = _SECRET.search(unquote(name)) is not None
        if hiding:
            pieces[at] = f"{name}={_HIDDEN}" if equals else _HIDDEN
    return "".join(pieces)
