"""Celery's helper modules: the same answers with Umbel in its place."""

from __future__ import annotations

import functools
import json
import pathlib
import textwrap
from typing import Any

import pytest

from interop.surface_utils import PROGRAMS
from interop.test_as_celery import UMBEL, run

SCRIPT = pathlib.Path(__file__).parent / "surface_utils.py"


@functools.cache
def surface(engine: tuple[str, ...]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run(*engine, str(SCRIPT)))
    return report


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_helper_gives_the_same(name: str) -> None:
    with_celery = surface(())[name]
    assert not (isinstance(with_celery, list) and "ModuleNotFoundError" in map(str, with_celery)), with_celery
    assert surface(UMBEL)[name] == with_celery


# ------------------------------------------------------------------------------ where Umbel has its own answer

PRELUDE = "import umbel; umbel.install_as_celery(); from celery import Celery\n"


def with_umbel(program: str) -> Any:
    return json.loads(run("-c", PRELUDE + textwrap.dedent(program)))


def test_what_cannot_be_says_what_to_use_instead() -> None:
    said = with_umbel(
        """
        import json
        from celery.concurrency import get_implementation
        from celery.contrib.migrate import move, move_task_by_id
        from celery.exceptions import CeleryError
        from celery.security import setup_security

        said = []
        for call in (setup_security, move, lambda: move_task_by_id("id", "queue"), get_implementation("prefork")):
            try:
                call()
            except CeleryError as exc:
                said.append(str(exc))
        print(json.dumps(said))
        """
    )
    assert len(said) == 4
    for words, text in zip(("accept_content", "umbel dead requeue", "-Q", "--pool"), said, strict=True):
        assert words in text


def test_a_stored_result_has_a_graph_and_tells_who_follows_it() -> None:
    seen = with_umbel(
        """
        import json
        app = Celery("graphs", broker="memory://", backend="memory://", set_as_current=True)
        from celery.exceptions import IncompleteStream

        seen, heard = [], []
        early = app.AsyncResult("one")
        early.then(lambda result: heard.append(result.id))
        try:
            early.graph
        except IncompleteStream:
            seen.append("incomplete")
        seen += [heard[:], list(map(str, early.build_graph(intermediate=True)))]
        app.backend.store_result("one", 5, "SUCCESS")
        seen += [early.get(timeout=5), heard[:]]
        app.AsyncResult("one").then(lambda result: heard.append(result.get()))
        late = app.AsyncResult("one")
        late.ready()
        late.then(lambda result: heard.append("at once"))
        seen += [heard, [str(result) for result in early.graph.topsort()], early.throw(), early.exists()]
        print(json.dumps(seen))
        """
    )
    assert seen == ["incomplete", [], ["one"], 5, ["one"], ["one", 5, "at once"], ["one"], 5, True]


def test_a_tracer_stores_what_came_of_it() -> None:
    seen = with_umbel(
        """
        import json
        from celery.app.trace import build_tracer
        app = Celery("tracing", broker="memory://", backend="memory://", set_as_current=True)

        @app.task(name="add")
        def add(a, b):
            return a + b

        good = build_tracer("add", add, app=app)("good", (1, 2), {})
        bad = build_tracer("add", add, app=app)("bad", (1, "a"), {})
        build_tracer("add", add, app=app, eager=True)("eager", (1, 2), {})
        states = [app.AsyncResult(id).state for id in ("good", "bad", "eager")]
        print(json.dumps([good.retval, bad.info.state, app.AsyncResult("good").get(timeout=5), states]))
        """
    )
    assert seen == [3, "FAILURE", 3, ["SUCCESS", "FAILURE", "PENDING"]]


def test_app_log_leaves_all_to_a_receiver_of_setup_logging() -> None:
    seen = with_umbel(
        """
        import json, logging
        from celery.signals import setup_logging
        app = Celery("logs", broker="memory://")
        told = []
        setup_logging.connect(lambda loglevel, logfile, **_: told.append([loglevel, logfile]), weak=False)
        app.log.setup(loglevel="DEBUG", logfile="%n.log", hostname="w1@host")
        print(json.dumps([told, logging.getLogger().handlers, app.log.already_setup]))
        """
    )
    assert seen == [[[10, "w1.log"]], [], True]
