"""From the global options to an app and its open broker."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from concurrent.futures import TimeoutError as WaitedTooLong
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from umbel import Umbel, portal
from umbel.cli.base import Globals
from umbel.cli.find_app import AppNotFound, find_app, likely_apps
from umbel.errors import BrokerUnavailable, ConfigurationError
from umbel.places import default_database_path
from umbel.ports import Broker
from umbel.routing import consumed_queues

__all__ = ["Session", "connected", "the_app"]

PATIENCE = 15.0
"""Seconds after which a store that neither answers nor refuses is given up."""

T = TypeVar("T")


def the_app(state: Globals, *, needed_for: str = "", looks: bool = True) -> Umbel:
    """The app of ``-A``, with ``-b`` and ``--result-backend`` applied to it.

    Without ``-A``: an app without tasks on the broker of ``-b``, of the environment, or else on the embedded queue of
    the project that the working directory belongs to, which must be there if the command `looks` into it. The
    command `needed_for` cannot do with that one: AppNotFound.
    """
    if state.given is not None:
        app = state.given
    elif state.app:
        app = find_app(state.app)
    elif needed_for:
        raise AppNotFound(_how_to_name_one(needed_for))
    else:
        app = Umbel("umbel")
    if state.broker:
        app.conf.broker_url = state.broker
    if state.result_backend:
        app.conf.result_backend = state.result_backend
    if not state.app and state.given is None and app.conf.broker_url is None:
        _use_embedded(app, must_exist=looks)
    return app


def _use_embedded(app: Umbel, *, must_exist: bool) -> None:
    """Without a module that defines the app, the working directory says which project is meant."""
    database = default_database_path(Path.cwd() / "tasks.py")
    if must_exist and not database.exists():
        raise AppNotFound(
            f"No app is named and there is no queue at {database}. Name the app, umbel -A tasks …, or the broker, "
            "umbel -b redis://localhost:6379/0 …"
        )
    app.conf.broker_url = f"sqlite:///{database}"
    if app.conf.result_backend is None:
        app.conf.result_backend = app.conf.broker_url


def _how_to_name_one(needed_for: str) -> str:
    command = f"umbel {needed_for}"
    likely = likely_apps(Path.cwd())
    if likely:
        found = f"{likely[0]!r} here looks like one: umbel -A {likely[0]} {needed_for}"
    else:
        found = f"Name the module that holds it: umbel -A tasks {needed_for} (or set UMBEL_APP)"
    return f"{command!r} needs an app, and none is named. {found}"


class Session:
    """An app with its broker open. `patience`: seconds that each operation may take."""

    def __init__(self, app: Umbel, patience: float = PATIENCE) -> None:
        self.app = app
        self.broker: Broker = app.broker
        self._patience = patience

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run one operation. Raises BrokerUnavailable when it takes too long."""
        timeout = self._patience
        try:
            return portal.run(coro, timeout)
        except WaitedTooLong as exc:
            raise BrokerUnavailable(
                f"{self.broker.url} has not answered for {timeout:.0f} s. Is the server up and reachable?"
            ) from exc

    def app_queues(self) -> list[str]:
        """The queues that a worker of this app consumes."""
        return list(consumed_queues(self.app.conf))


@contextmanager
def connected(state: Globals, patience: float = PATIENCE) -> Iterator[Session]:
    """A session for commands that work with what the broker holds."""
    app = the_app(state)
    with app:
        yield _opened(app, patience)


def _opened(app: Umbel, patience: float) -> Session:
    session = Session(app, patience)
    if not session.broker.caps.processes:
        raise ConfigurationError(
            f"{session.broker.url} lives inside the process that made it, so a command line cannot see it. "
            "Name another broker with -b."
        )
    session.run(session.broker.open())
    return session
