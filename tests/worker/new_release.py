"""The app after a deploy: with a task that the old release does not know."""

from __future__ import annotations

from jobs import app, note

__all__ = ["app"]


@app.task(name="shop.known")
def known(value: object) -> object:
    note("new", value)
    return value


@app.task(name="shop.added")
def added(value: object) -> object:
    note("added", value)
    return value
