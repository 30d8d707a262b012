"""Rates as Celery writes them: ``"100/m"``."""

from __future__ import annotations

__all__ = ["per_second"]

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def per_second(rate: str | float | None) -> float:
    """How many in a second; 0: as many as come. Raises ValueError for what is no rate.

    >>> per_second("90/m"), per_second(2), per_second(None)
    (1.5, 2.0, 0.0)
    """
    if not rate:
        return 0.0
    if isinstance(rate, bool):
        raise ValueError(f"A rate is a number or a text such as '100/m', not {rate!r}.")
    if isinstance(rate, int | float):
        found = float(rate)
    else:
        number, _, unit = str(rate).partition("/")
        try:
            found = float(number) / _SECONDS[unit.strip() or "s"]
        except (ValueError, KeyError) as exc:
            raise ValueError(
                f"A rate is a number and a unit (s, m or h), such as '100/m', not {rate!r}."
            ) from exc
    if not 0 <= found < float("inf"):
        raise ValueError(f"A rate cannot be negative, nor without end: {rate!r}.")
    return found
