"""The small parts of the worker: exits in words, names, logs, what is held, deaths and deadlines."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from umbel import Umbel
from umbel.core.frame import DELIVERIES_HEADER, Frame
from umbel.ports import Ack, Delivery, Receipt
from umbel.worker import deaths as deaths_module
from umbel.worker.banner import render_banner
from umbel.worker.crew import Child
from umbel.worker.deadlines import Deadlines
from umbel.worker.deaths import Deaths
from umbel.worker.exits import describe_exit
from umbel.worker.inflight import Held, Inflight
from umbel.worker.ipc import make_ends
from umbel.worker.logs import TASK_LOGGER, LogSettings, set_up
from umbel.worker.options import WorkerOptions, expand_name
from umbel.worker.program import Program

# -- exits


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 0", "exited with code 0"),
        ("exit 3", "exited with code 3"),
        ("kill -KILL $$", "was killed by SIGKILL"),
        ("kill -SEGV $$", "was killed by SIGSEGV"),
        ("kill -35 $$", "was killed by signal 35"),
    ],
)
def test_an_exit_is_told_in_words(script: str, words: str) -> None:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ)
    _, status = os.waitpid(pid, 0)
    assert describe_exit(status) == words


# -- names


def test_names_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "web1.shop.example")
    assert expand_name("mail@%h") == "mail@web1.shop.example"
    assert expand_name("%n@x") == "web1@x"
    assert expand_name("a@%d") == "a@shop.example"
    assert expand_name("mail") == "mail@web1.shop.example"
    assert expand_name("a%p@h") == f"a{os.getpid()}@h"


# -- the banner


def test_the_banner_tells_what_the_worker_is(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Umbel(
        "shop",
        broker="redis://:hunter2@broker:6379/0",
        backend="redis://u:hunter3@results/1",
        set_as_current=False,
    )

    @app.task(name="shop.pack")
    def pack() -> None:
        """A task to be listed."""

    program = Program(
        app, WorkerOptions(name="w@h", queues=("a", "b"), pool="threads", concurrency=7, banner=False)
    )
    loggers = _remember_loggers()
    try:
        program.prepare()
    finally:
        _put_back(loggers)
    text = render_banner(program)
    assert "hunter" not in text
    for words in (
        "w@h",
        "redis://:***@broker:6379/0",
        "redis://u:***@results/1",
        "7 (threads)",
        ".> a",
        ".> b",
        ". shop.pack",
    ):
        assert words in text


# -- logs


def _remember_loggers() -> list[tuple[logging.Logger, list[logging.Handler], int, bool]]:
    names = (None, "umbel", TASK_LOGGER)
    return [(g, list(g.handlers), g.level, g.propagate) for g in map(logging.getLogger, names)]


def _put_back(loggers: list[tuple[logging.Logger, list[logging.Handler], int, bool]]) -> None:
    for logger, handlers, level, propagate in loggers:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Answers with what was logged; the loggers are put back afterwards."""
    loggers = _remember_loggers()
    yield lambda: capsys.readouterr().err
    _put_back(loggers)


def test_a_line_of_text(logged: Callable[[], str]) -> None:
    process = set_up(LogSettings(level="INFO"))
    process.name_shown = "child-3"
    logging.getLogger("umbel.worker").info("hello %s", "world")
    logging.getLogger("umbel.worker").debug("not shown")
    line = logged()
    assert line.endswith(": INFO/child-3] hello world\n")
    assert line.count("\n") == 1
    assert "\033" not in line


def test_json_is_one_object_a_line_whatever_is_said(logged: Callable[[], str]) -> None:
    set_up(LogSettings(level="INFO", json=True))
    logger = logging.getLogger("umbel.worker.tasks")
    logger.info(
        'two\nlines and a "quote"', extra={"event": "failed", "task": "t", "task_id": "1", "runtime": 0.5}
    )
    try:
        raise ValueError("no luck")
    except ValueError:
        logger.exception("it broke")
    first, second = (json.loads(line) for line in logged().splitlines())
    assert first["message"] == 'two\nlines and a "quote"'
    assert (first["event"], first["task"], first["task_id"], first["runtime"]) == ("failed", "t", "1", 0.5)
    assert first["level"] == "INFO"
    assert "ValueError: no luck" in second["traceback"]


def test_the_root_logger_is_the_applications(logged: Callable[[], str]) -> None:
    root = logging.getLogger()
    mine = logging.NullHandler()
    root.handlers[:] = [mine]
    level = root.level
    set_up(LogSettings(level="DEBUG"))
    assert root.handlers == [mine]
    assert root.level == level
    logging.getLogger("somebody.else").error("not ours")
    assert logged() == ""


def test_the_root_logger_is_taken_when_asked(logged: Callable[[], str]) -> None:
    set_up(LogSettings(level="INFO", hijack_root=True))
    logging.getLogger("somebody.else").info("ours now")
    logging.getLogger("umbel.worker").info("once")
    text = logged()
    assert "ours now" in text
    assert text.count("once") == 1


# -- what is held


def delivery(token: str, **headers: object) -> tuple[Delivery, Frame]:
    frame = Frame(b"", "application/json", "utf-8", {"id": token, **headers}, {})
    return Delivery(receipt=Receipt("q", token), frame=frame, count=2), frame


def test_what_is_held_is_found_until_it_is_dropped() -> None:
    inflight = Inflight()
    one, two = (inflight.add(*delivery(token), 0.0) for token in ("a", "b"))
    assert len(inflight) == 2
    assert list(inflight) == [one, two]
    assert inflight.get(one.seq) is one
    assert inflight.find("b") is two
    assert inflight.find("c") is None
    inflight.drop(one.seq)
    inflight.drop(one.seq)
    assert inflight.get(one.seq) is None
    assert list(inflight) == [two]


def test_only_leases_that_are_ours_are_renewed() -> None:
    inflight = Inflight()
    early, lost, ours = (inflight.add(*delivery(token), 0.0) for token in ("a", "b", "c"))
    early.receipt = None
    lost.lease_lost = True
    assert inflight.receipts() == {Receipt("q", "c"): ours}


def test_what_has_ended_and_comes_back_is_settled_under_its_new_receipt() -> None:
    """Its lease has ended while the broker was out of reach, and this very node was the first to ask for work again."""
    inflight = Inflight()
    held = inflight.add(*delivery("a"), 0.0)
    held.settlement = Ack(receipt=Receipt("q", "a"))
    again, frame = delivery("a")
    again.count, again.receipt = 2, Receipt("q", "b")
    assert inflight.comes_back(again, frame)
    assert held.settlement.receipt == held.receipt == Receipt("q", "b")


@pytest.mark.parametrize(
    ("header", "deliveries"), [(None, 2), (3, 5), (-4, 2), ("many", 2), ([1], 2), (1.5, 2)], ids=repr
)
def test_deliveries_are_counted_with_those_in_the_header(header: object, deliveries: int) -> None:
    assert Inflight().add(*delivery("a", **{DELIVERIES_HEADER: header}), 0.0).deliveries == deliveries


# -- deaths


def test_a_death_is_told_before_or_after_it_is_asked_for() -> None:
    async def main() -> None:
        deaths = Deaths()
        deaths.tell(1, "was killed by SIGKILL", known=True)
        assert await deaths.of(1, _nobody_is_killed) == "was killed by SIGKILL"
        asked = asyncio.create_task(deaths.of(2, _nobody_is_killed))
        await asyncio.sleep(0)
        deaths.tell(2, "exited with code 1", known=False)
        assert await asked == "exited with code 1"
        assert len(deaths) == 0

    asyncio.run(main())


def _nobody_is_killed() -> None:
    raise AssertionError("it was told in time")


def test_what_nobody_says_is_dead_is_killed_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deaths_module, "PATIENCE", 0.01)

    async def main() -> None:
        deaths, killed = Deaths(), asyncio.Event()
        asked = asyncio.create_task(deaths.of(3, killed.set))
        await killed.wait()
        assert not asked.done()
        deaths.tell(3, "was killed by SIGKILL", known=True)
        assert await asked == "was killed by SIGKILL"
        assert len(deaths) == 0

    asyncio.run(main())


def test_who_was_killed_is_dead_though_nobody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deaths_module, "PATIENCE", 0.01)

    async def main() -> None:
        deaths, killed = Deaths(), asyncio.Event()
        assert "was killed" in await deaths.of(4, killed.set)
        assert killed.is_set()
        assert len(deaths) == 0

    asyncio.run(main())


def test_a_death_that_nobody_will_ask_for_is_not_kept() -> None:
    async def main() -> None:
        deaths = Deaths()
        deaths.tell(1, "exited with code 0", known=False)
        assert len(deaths) == 0
        deaths.tell(2, "exited with code 0", known=True)
        deaths.tell(2, "again", known=True)
        deaths.forget(2)
        assert len(deaths) == 0

    asyncio.run(main())


# -- hard limits


def test_a_deadline_kills_only_whoever_still_runs_the_call() -> None:
    async def main() -> None:
        killed: asyncio.Queue[Child] = asyncio.Queue()
        deadlines = Deadlines(killed.put_nowait)
        end, ends = make_ends()
        child = Child(0, 0, 4, ends)
        calls = [_held() for _ in range(4)]
        for call in calls:
            child.handed[call.seq] = call
        late, done, replaced, long = calls
        for call, seconds in ((late, 0.01), (done, 0.01), (replaced, 0.01), (long, 3600)):
            deadlines.begin(child, call, seconds)
        deadlines.begin(child, replaced, 3600)
        deadlines.end(done)
        assert await killed.get() is child
        await asyncio.sleep(0.02)  # the others had the same limit: were they to be killed, it would be by now
        assert killed.empty()
        assert [call.doomed for call in calls] == ["timeout", None, None, None]
        assert late.hard_limit == 0.01
        deadlines.end(replaced)
        deadlines.end(long)
        assert len(deadlines) == 0
        end.close()
        child.sock.close()
        child.last_words()
        child.forget()

    asyncio.run(main())


_seq = iter(range(1, 1000))


def _held() -> Held:
    number = next(_seq)
    frame = Frame(b"", "application/json", "utf-8", {"id": str(number)}, {})
    return Held(seq=number, frame=frame, receipt=None, deliveries=1, since=0.0)
