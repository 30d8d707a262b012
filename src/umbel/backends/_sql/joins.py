"""What the result store does to its tables of joins, in plain calls on a database."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from umbel.backends._common_machine_clock import milliseconds
from umbel.backends._sql.database import Database, Session
from umbel.backends._sql.entries import text
from umbel.ports import Arrival, Join

__all__ = ["arrive", "close", "open_joins", "prune", "widen"]

LAST = (1 << 31) - 1
"""The place of a call that has none: after all others."""
AT_ONCE = 100
"""Joins that are forgotten in one transaction."""


def open_joins(database: Database, joins: Sequence[Join], ttl: float | None) -> None:
    values = [{"join": text(join.id), "size": join.size, "ttl": _ms(ttl)} for join in joins]
    database.atomically(lambda session: session.many("open_join", values))


def widen(database: Database, join_id: str, by: int) -> None:
    database.plainly(lambda session: session.run("widen_join", join=text(join_id), by=by))


def arrive(database: Database, arrival: Arrival, ttl: float | None) -> list[bytes] | None:
    """The parts, if all have arrived."""
    join, task_id = text(arrival.join), text(arrival.task_id)
    place = LAST if arrival.index is None else arrival.index

    def work(session: Session) -> list[bytes] | None:
        # Its row is locked from here on: calls that arrive at one join come one after another.
        if not session.run("keep_join", join=join, ttl=_ms(ttl)):
            return None
        slot = {"join": join, "task_id": task_id, "part": arrival.part, "failed": arrival.failed}
        if session.run("fill_slot", **slot, place=place):
            session.run("count_arrival", join=join)
        elif not arrival.failed:
            mended = session.run("mend_slot", **{**slot, "failed": True}, succeeded=False)
            if mended and session.rows("failed_slots", join=join, failed=True):
                return None
        if not session.rows("complete_join", join=join):
            return None
        return [bytes(part) for (part,) in session.rows("join_parts", join=join)]

    return database.atomically(work)


def close(database: Database, join_ids: Collection[str]) -> None:
    def work(session: Session) -> None:
        for join_id in map(text, join_ids):
            session.run("close_join", join=join_id)
            session.run("clear_join", join=join_id)

    if join_ids:
        database.atomically(work)


def prune(database: Database) -> None:
    """Forget those whose time is over, in transactions that leave room for others."""
    while expired := database.plainly(lambda session: session.rows("expired_joins", limit=AT_ONCE)):
        close(database, [join_id for (join_id,) in expired])


def _ms(ttl: float | None) -> int | None:
    return None if ttl is None else milliseconds(ttl)
