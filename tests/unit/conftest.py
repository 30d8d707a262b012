"""Apps for the unit tests: each test gets its own, on a broker of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from umbel import Umbel, context

MakeApp = Callable[..., Umbel]


@pytest.fixture(autouse=True)
def no_app_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that makes an app current, or declares a shared task, leaves no trace."""
    monkeypatch.setattr(context, "state", context.AppState())


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A broker of this process, and one in a file."""
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return f"sqlite:///{tmp_path}/queue.db"


@pytest.fixture
def make_app() -> Iterator[MakeApp]:
    """Makes apps, by default on a new broker in memory, and closes them."""
    apps: list[Umbel] = []

    def make(main: str = "tests", **settings: Any) -> Umbel:
        settings.setdefault("broker", f"memory://{uuid.uuid4().hex}")
        settings.setdefault("set_as_current", False)
        if "backend" not in settings:
            settings["backend"] = settings["broker"]
        app = Umbel(main, **{k: v for k, v in settings.items() if v is not None})
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def app(make_app: MakeApp) -> Umbel:
    """An app with a broker and a result store in memory."""
    return make_app()
