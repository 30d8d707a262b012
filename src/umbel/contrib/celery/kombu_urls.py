"""``kombu.utils.url``: broker URLs taken apart and put together."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

__all__ = ["as_url", "maybe_sanitize_url", "parse_url", "sanitize_url", "url_to_parts", "urlparts"]


class urlparts(NamedTuple):
    """The parts of a URL."""

    scheme: str
    hostname: str | None
    port: int | None
    username: str | None
    password: str | None
    path: str | None
    query: dict[str, str]


def url_to_parts(url: str) -> urlparts:
    """Take a URL apart."""
    scheme, _, rest = url.partition("://")
    parts = urlsplit("http://" + rest)
    path = parts.path.removeprefix("/")

    def text(value: str | None) -> str | None:
        return unquote(value or "") or None

    return urlparts(
        scheme,
        text(parts.hostname),
        parts.port,
        text(parts.username),
        text(parts.password),
        text(path),
        dict(parse_qsl(parts.query)),
    )


def parse_url(url: str) -> dict[str, Any]:
    """The same as arguments of ``kombu.Connection``."""
    parts = url_to_parts(url)
    tls = {name: value for name, value in parts.query.items() if name.startswith("ssl_")}
    others: dict[str, Any] = {name: value for name, value in parts.query.items() if name not in tls}
    if tls:
        others["ssl"] = tls
    return {
        "transport": parts.scheme,
        "hostname": parts.hostname,
        "port": parts.port,
        "userid": parts.username,
        "password": parts.password,
        "virtual_host": parts.path,
        **others,
    }


def as_url(scheme: str, host: str | None = None, port: int | None = None, **parts: Any) -> str:
    """Put a URL together; `parts`: user, password, path, and sanitize to write `mask` for the password."""
    user, password = parts.get("user"), parts.get("password")
    if password:
        hidden = parts.get("sanitize", False)
        password = ":" + (parts.get("mask", "**") if hidden else quote(password, safe=""))
    login = f"{quote(user or '', safe='')}{password or ''}@" if user or password else ""
    place = quote(host, safe="") if host else ""
    return f"{scheme}://{login}{place}{f':{port}' if port else ''}/{parts.get('path') or ''}"


def sanitize_url(url: str, mask: str = "**") -> str:
    """The URL without its password."""
    parts = url_to_parts(url)
    login = {"user": parts.username, "password": parts.password}
    return as_url(
        parts.scheme, parts.hostname, parts.port, **login, path=parts.path, sanitize=True, mask=mask
    )


def maybe_sanitize_url(url: Any, mask: str = "**") -> Any:
    """The same; what is no URL as it is."""
    return sanitize_url(url, mask) if isinstance(url, str) and "://" in url else url
