"""``kombu.utils.json``: JSON as messages hold it, with dates, decimals, ids and types of the program's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from umbel.core import kombu_types
from umbel.core.kombu_types import register_type

__all__ = ["JSONEncoder", "dumps", "loads", "object_hook", "register_type"]


class JSONEncoder(json.JSONEncoder):
    """For ``json.dumps(..., cls=JSONEncoder)``."""

    def default(self, o: Any) -> Any:
        """What JSON lacks, as kombu writes it."""
        return kombu_types.plain(o)


def dumps(s: Any, _dumps: Callable[..., str] = json.dumps, cls: Any = JSONEncoder, **options: Any) -> str:
    """`s` as text."""
    given = options.pop("default_kwargs", None) or {}
    return _dumps(s, cls=cls, **{**given, **options})


def object_hook(o: dict[str, Any]) -> Any:
    """What a tagged object says; any other as it is."""
    return kombu_types.restore(o)


def loads(s: Any, _loads: Callable[..., Any] = json.loads, **options: Any) -> Any:
    """The value that text or bytes hold."""
    options.pop("decode_bytes", None)
    text = bytes(s).decode("utf-8") if isinstance(s, bytes | bytearray | memoryview) else s
    return _loads(text, object_hook=options.pop("object_hook", object_hook), **options)
