"""``celery.utils.text``."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Mapping
from pprint import pformat
from typing import Any, overload

__all__ = [
    "WhateverIO",
    "abbr",
    "abbrtask",
    "dedent",
    "dedent_initial",
    "ensure_newlines",
    "ensure_sep",
    "fill_paragraphs",
    "indent",
    "join",
    "match_case",
    "pluralize",
    "pretty",
    "remove_repeating",
    "remove_repeating_from_task",
    "simple_format",
    "str_to_list",
    "truncate",
    "truncate_bytes",
]

_FORMAT = re.compile(r"%([%\w])")


def str_to_list(s: Any) -> Any:
    """The parts of a string between commas. What is no string is returned as it is."""
    return s.split(",") if isinstance(s, str) else s


def dedent_initial(s: str, n: int = 4) -> str:
    """`s` without the `n` spaces that its first line begins with."""
    return s[n:] if s[:n] == " " * n else s


def dedent(s: str, sep: str = "\n") -> str:
    """`s` with four spaces fewer before each line, where they are there."""
    return sep.join(dedent_initial(line) for line in s.splitlines())


def fill_paragraphs(s: str, width: int, sep: str = "\n") -> str:
    """Each line of `s` wrapped to `width`."""
    return sep.join(textwrap.fill(part, width) for part in s.split(sep))


def join(l: list[str], sep: str = "\n") -> str:  # noqa: E741 - Celery's name
    """The parts that are not empty."""
    return sep.join(part for part in l if part)


def ensure_sep(sep: str, s: str, n: int = 2) -> str:
    """`s`, ending in at least `n` of `sep`."""
    return s + sep * (n - s.count(sep))


def ensure_newlines(s: str, n: int = 2) -> str:
    """`s` with at least `n` line ends."""
    return ensure_sep("\n", s, n)


def abbr(S: str | None, max: int, ellipsis: str | bool = "...") -> str:
    """`S` cut to `max` characters, `ellipsis` counted."""
    if S is None:
        return "???"
    if len(S) <= max:
        return S
    mark = ellipsis if isinstance(ellipsis, str) else ""
    return S[: max - len(mark)] + mark


def abbrtask(S: str | None, max: int) -> str:
    """A task's name in about `max` characters: what gives way is the path of its module."""
    if S is None:
        return "???"
    if len(S) <= max:
        return S
    module, _, name = S.rpartition(".")
    return f"{abbr(module, max - len(name) - 3, False)}[.]{name}"


def indent(t: str, indent: int = 0, sep: str = "\n") -> str:
    """Each line of `t` after `indent` spaces."""
    return sep.join(" " * indent + line for line in t.split(sep))


def truncate(s: str, maxlen: int = 128, suffix: str = "...") -> str:
    """The first `maxlen` characters of `s`, and `suffix` when there were more."""
    if maxlen and len(s) >= maxlen:
        return s[:maxlen].rsplit(" ", 1)[0] + suffix
    return s


def truncate_bytes(s: bytes, maxlen: int = 128, suffix: bytes = b"...") -> bytes:
    """The same for bytes, which have no words."""
    return s[: maxlen - len(suffix)] + suffix if maxlen and len(s) >= maxlen else s


def pluralize(n: float, text: str, suffix: str = "s") -> str:
    """`text`, with `suffix` unless there is one of it."""
    return text if n == 1 else text + suffix


def pretty(value: Any, width: int = 80, nl_width: int = 80, sep: str = "\n", **kw: Any) -> str:
    """`value` for people: as ``pprint``, on a line of its own when it is long."""
    if isinstance(value, dict):
        return f"{{{sep} {pformat(value, 4, nl_width)[1:]}"
    if isinstance(value, tuple):
        return f"{sep}{' ' * 4}{pformat(value, width=nl_width, **kw)}"
    return pformat(value, width=width, **kw)


def match_case(s: str, other: str) -> str:
    """`s` in capitals or not, as `other` is."""
    return s.upper() if other.isupper() else s.lower()


@overload
def simple_format(
    s: str, keys: Mapping[str, Any], pattern: re.Pattern[str] = ..., expand: str = ...
) -> str: ...
@overload
def simple_format(
    s: None, keys: Mapping[str, Any], pattern: re.Pattern[str] = ..., expand: str = ...
) -> None: ...
def simple_format(
    s: str | None,
    keys: Mapping[str, str | Callable[[], str]],
    pattern: re.Pattern[str] = _FORMAT,
    expand: str = r"\1",
) -> str | None:
    """`s` with ``%x`` replaced by ``keys["x"]``, called when it is a function. ``%%`` is a per cent sign."""
    if not s:
        return s

    def value_of(match: re.Match[str]) -> str:
        key = match.expand(expand)
        if key == "%":
            return "%"
        try:
            value = keys[key]
        except KeyError:
            raise ValueError(
                f"%{key} in {s!r} is not one of the fields {', '.join('%' + name for name in sorted(keys))}; a per cent sign is "
                "written %%."
            ) from None
        return str(value() if callable(value) else value)

    return pattern.sub(value_of, s)


def remove_repeating(substr: str, s: str) -> str:
    """`s` with `substr` in its first place only."""
    first = s.find(substr)
    if first < 0:
        return s
    end = first + len(substr)
    return s[:end] + s[end:].replace(substr, "")


def remove_repeating_from_task(task_name: str, s: str) -> str:
    """A workflow as text, with the module of `task_name` written once."""
    module = task_name.rpartition(".")[0]
    return remove_repeating(module + ".", s) if module else s


class WhateverIO(io.StringIO):
    """A ``StringIO`` that takes bytes too."""

    def __init__(self, v: bytes | str | None = None, *a: Any, **kw: Any) -> None:
        super().__init__(v.decode() if isinstance(v, bytes) else v, *a, **kw)

    def write(self, data: bytes | str, /) -> int:
        """Write `data` at the end."""
        return super().write(data.decode() if isinstance(data, bytes) else data)
