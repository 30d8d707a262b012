"""The app before a deploy: it does not know the task that the next release brings."""

from __future__ import annotations

from jobs import app, note

__all__ = ["app"]


@app.task(name="shop.known")
def known(value: object) -> object:
    note("old", value)
    return value
