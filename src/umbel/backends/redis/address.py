"""Where a Redis server is, read from a URL in any of the spellings that Celery and redis-py know."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from umbel.core.urls import mask_url
from umbel.errors import ConfigurationError

__all__ = ["Address", "Tls", "parse_url"]

_PORT, _SENTINEL_PORT = 6379, 26379
_ENCODE = "A '#', '/', '?', ':', ';' or '@' in a password must be written as %23, %2F, %3F, %3A, %3B or %40."
_FORMS = (
    "redis://[user:password@]host:port/db, rediss://… (TLS), redis+socket:///path?virtual_host=db, "
    "unix:///path?db=n, sentinel://host:port;sentinel://host:port/db with the option master_name"
)
_CERT_REQS = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_TLS_NAMES = frozenset(
    {
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_keyfile_password",
        "ssl_check_hostname",
    }
)


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """How to check the server's certificate and show ours; names as in Celery without their ``ssl_``."""

    cert_reqs: ssl.VerifyMode = ssl.CERT_REQUIRED
    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    keyfile_password: str | None = None
    check_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """Raises ``ConfigurationError`` when a file cannot be read."""
        return _context(self)


@functools.cache
def _context(tls: Tls) -> ssl.SSLContext:
    """Made once: reading the system's certificates takes longer than connecting."""
    context = ssl.create_default_context()
    context.check_hostname = tls.check_hostname and tls.cert_reqs is ssl.CERT_REQUIRED
    context.verify_mode = tls.cert_reqs
    try:
        if tls.ca_certs:
            context.load_verify_locations(tls.ca_certs)
        if tls.certfile:
            context.load_cert_chain(tls.certfile, tls.keyfile, tls.keyfile_password)
    except OSError as exc:
        files = [name for name in (tls.ca_certs, tls.certfile, tls.keyfile) if name]
        raise ConfigurationError(f"The TLS files {', '.join(files)} cannot be used: {exc}.") from exc
    return context


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One server, or the sentinels that know where it is."""

    url: str
    """With the password replaced by ``***``."""
    hosts: tuple[tuple[str, int], ...] = ()
    """One host; or the sentinels, when `sentinel` is true."""
    path: str | None = None
    """Of a Unix socket; then there are no hosts."""
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls: Tls | None = None
    sentinel: bool = False
    query: Mapping[str, str] = {}
    """What else the URL says: connection options like ``socket_timeout``."""

    def same_server(self, other: Address) -> bool:
        """Whether both are reached in the same way; the database number aside."""

        def essence(address: Address) -> tuple[Any, ...]:
            return (
                frozenset((_canonical(host), port) for host, port in address.hosts),
                address.path,
                address.username or "default",
                address.password,
                address.tls is None,
                address.sentinel,
            )

        return essence(self) == essence(other)


def _canonical(host: str) -> str:
    return "localhost" if host in ("127.0.0.1", "::1") else host.lower()


def parse_url(url: str, tls: Mapping[str, Any] | bool | None = None) -> Address:
    """The address that `url` names. `tls` are Celery's ``broker_use_ssl`` options, or True for their defaults.

    Raises ``ConfigurationError`` with the forms that are understood.
    """
    parts = [_split(part) for part in url.split(";") if part.strip()]
    schemes = {part.scheme for part in parts}
    if len(parts) > 1 and schemes != {"sentinel"}:
        raise ConfigurationError(
            f"Only sentinel:// takes several URLs, separated by ';'; got {mask_url(url)!r}."
        )
    last = parts[
        -1
    ]  # Celery reads the database and the password of the list from any of them; we from the last
    query = dict(parse_qsl(last.query, keep_blank_values=True))
    userinfo = next((part for part in reversed(parts) if part.username or part.password), last)
    common: dict[str, Any] = {
        "url": mask_url(url),
        "username": unquote(userinfo.username) if userinfo.username else None,
        "password": unquote(userinfo.password) if userinfo.password else None,
    }
    if last.scheme in ("unix", "redis+socket"):
        if not last.path:
            raise ConfigurationError(f"{mask_url(url)!r} names no socket file. Known forms: {_FORMS}.")
        number = query.pop("virtual_host", None) or query.pop("db", None) or "0"
        return Address(path=unquote(last.path), db=_database(number, url), query=query, **common)
    given = {name: query.pop(name) for name in list(query) if name in _TLS_NAMES}
    secure = last.scheme == "rediss" or bool(tls)
    options = {**(tls if isinstance(tls, Mapping) else {}), **given}
    sentinel = last.scheme == "sentinel"
    number = query.pop("db", None) or query.pop("virtual_host", None) or last.path.strip("/") or "0"
    return Address(
        hosts=tuple(_host(part, url, _SENTINEL_PORT if sentinel else _PORT) for part in parts),
        db=_database(number, url),
        tls=_tls(options) if secure else None,
        sentinel=sentinel,
        query=query,
        **common,
    )


def _split(url: str) -> Any:
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        # Not what urlsplit says, nor its error as the cause: it quotes what it took for a port, half of a password.
        raise ConfigurationError(
            f"{mask_url(url)!r} is not a URL: {_ENCODE} Known forms: {_FORMS}."
        ) from None
    return parts


def _host(parts: Any, url: str, port: int) -> tuple[str, int]:
    if parts.path.strip("/") and "/" in parts.path.strip("/"):
        raise ConfigurationError(f"{mask_url(url)!r} has a path; expected a number. Known forms: {_FORMS}.")
    return parts.hostname or "localhost", parts.port or port


def _database(number: str, url: str) -> int:
    digits = number.strip("/")
    if not digits.isdecimal():
        # With an '@' in it, it is perhaps half of a password.
        got = f"is {number!r}; expected" if "@" not in number else f"cannot be told. {_ENCODE} Expected"
        raise ConfigurationError(
            f"The database in {mask_url(url)!r} {got} a number such as 0. Known forms: {_FORMS}."
        )
    return int(digits)


def _tls(options: Mapping[str, Any]) -> Tls:
    named = {name if name.startswith("ssl_") else f"ssl_{name}": value for name, value in options.items()}
    unknown = sorted(set(named) - _TLS_NAMES)
    if unknown:
        raise ConfigurationError(
            f"Unknown TLS option {', '.join(unknown)}. There are: {', '.join(sorted(_TLS_NAMES))}."
        )
    known = {name.removeprefix("ssl_"): value for name, value in named.items() if value is not None}
    if "cert_reqs" in known:
        known["cert_reqs"] = _verify_mode(known["cert_reqs"])
    if "check_hostname" in known:
        known["check_hostname"] = str(known["check_hostname"]).lower() in ("1", "true", "yes", "on")
    return Tls(**known)


def _verify_mode(value: Any) -> ssl.VerifyMode:
    if isinstance(value, int):
        return ssl.VerifyMode(value)
    name = str(value).lower().removeprefix("cert_")
    if name not in _CERT_REQS:
        raise ConfigurationError(
            f"ssl_cert_reqs is {value!r}; expected CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE."
        )
    return _CERT_REQS[name]
