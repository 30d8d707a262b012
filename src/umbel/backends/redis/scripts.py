"""The Lua scripts, read from ``lua/`` once, and what to call them by."""

from __future__ import annotations

import hashlib
from importlib import resources

import msgspec

__all__ = [
    "ACK",
    "ARRIVE",
    "CLAIM",
    "DEPTH",
    "EXTEND",
    "FINISH",
    "NODES",
    "PRUNE_DEAD",
    "PURGE",
    "PUSH",
    "PUT",
    "RECLAIM",
    "RESERVE",
    "REVOKE",
    "REVOKED",
    "REWRITE",
    "SEARCH",
    "SEND",
    "SETTLE",
    "UNRANK",
    "UNSHELVE",
    "UNWAKE",
    "Script",
]


_FLAGS = b"#!lua flags=allow-oom\n"


class Script(msgspec.Struct, frozen=True):
    """A script and the name under which the server keeps it."""

    text: bytes
    sha: str
    frees: bool = False
    """It must run on a server that is full: workers that cannot take and finish tasks would never make room."""

    def for_server(self, version: tuple[int, int]) -> Script:
        """The form for a version of Redis. Before 7.0 there are no flags, and the first line would be an error."""
        return _FLAGGED[self.sha] if self.frees and version >= (7, 0) else self


_FLAGGED: dict[str, Script] = {}


def _make(text: bytes, frees: bool) -> Script:
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest(), frees)


def _read(name: str, *, after: tuple[str, ...] = ("prelude",), frees: bool = False) -> Script:
    folder = resources.files("umbel.backends.redis").joinpath("lua")
    text = b"\n".join(folder.joinpath(f"{part}.lua").read_bytes() for part in (*after, name))
    script = _make(text, frees)
    if frees:
        _FLAGGED[script.sha] = _make(_FLAGS + text, frees=False)
    return script


ACK = _read("ack", after=("memo",), frees=True)
ARRIVE = _read("arrive", after=(), frees=True)
CLAIM = _read("claim", after=(), frees=True)
PUT = _read("put", after=("record",))
PUSH = _read("push")
DEPTH = _read("depth")
EXTEND = _read("extend", frees=True)
FINISH = _read("finish", after=("memo", "record"), frees=True)
NODES = _read("nodes", frees=True)
PRUNE_DEAD = _read("prune_dead", frees=True)
PURGE = _read("purge")
RECLAIM = _read("reclaim", frees=True)
RESERVE = _read("reserve", frees=True)
REVOKE = _read("revoke")
REVOKED = _read("revoked")
REWRITE = _read("rewrite")
SEARCH = _read("search")
SEND = _read("send")
SETTLE = _read("settle", after=("prelude", "memo", "record"), frees=True)
UNRANK = _read("unrank", frees=True)
UNSHELVE = _read("unshelve")
UNWAKE = _read("unwake", frees=True)
