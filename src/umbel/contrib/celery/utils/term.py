"""``celery.utils.term``: text in colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["colored"]

_RESET = "\033[0m"
_COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_STYLES = {"bold": "1", "underline": "4", "blink": "5", "reverse": "7", "bright": "8", "reset": "0"}
_CODES = {
    **{name: f"1;{30 + number}" for number, name in enumerate(_COLORS)},
    **{f"i{name}": f"1;{40 + number}" for number, name in enumerate(_COLORS) if name != "black"},
    **_STYLES,
}


class colored:
    """Text in colours: ``str(c.red("stop ", c.bold("now")))`` with ``c = colored(enabled=True)``.

    Its methods are the names of colours, ``i`` and a colour for the background, and bold, underline, blink, reverse, bright.
    """

    def __init__(self, *s: object, **kwargs: Any) -> None:
        self.s = s
        self.enabled: bool = not kwargs.get("no_color") and kwargs.get("enabled", True)
        self.op: str = kwargs.get("op", "")

    def __getattr__(self, name: str) -> Callable[..., colored]:
        try:
            code = _CODES[name]
        except KeyError:
            raise AttributeError(name) from None
        return lambda *s: self.node(s, f"\033[{code}m")

    @property
    def names(self) -> dict[str, Callable[..., colored]]:
        """The colours."""
        return {name: getattr(self, name) for name in _COLORS}

    def node(self, s: tuple[object, ...], op: str) -> colored:
        """Text between `op` and the end of colours."""
        return type(self)(*s, enabled=self.enabled, op=op)

    def no_color(self) -> str:
        """The text alone."""
        return "".join(part.no_color() if isinstance(part, colored) else str(part) for part in self.s)

    def embed(self) -> str:
        """The text, with its colours left on."""
        if not self.enabled:
            return self.no_color()
        parts = (part.embed() if isinstance(part, colored) else str(part) for part in self.s)
        return self.op + "".join(parts)

    def __add__(self, other: object) -> str:
        return f"{self}{other}"

    def __str__(self) -> str:
        if not self.enabled:
            return self.no_color()
        parts = "".join(str(part) for part in self.s)
        return f"{self.op}{parts}{_RESET}" if self.s else ""

    def __repr__(self) -> str:
        return repr(self.no_color())
