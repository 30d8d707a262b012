"""What remote control changes in a worker, with one program under both engines: the same is asked, and the same is seen."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from interop.harness import Place
from interop.jobs import PATIENCE
from interop.test_as_celery import run

ENGINES = ("celery", "umbel")
HERE = pathlib.Path(__file__).parent


class Panel:
    """A worker of one engine, and what its program hears."""

    def __init__(self, engine: str, place: Place, folder: pathlib.Path) -> None:
        self.engine = engine
        self.file = folder / "heard.txt"
        self.file.touch()
        self.folder = folder
        self.environment = {
            **os.environ,
            "PANEL_REDIS": place.broker,
            "PANEL_FILE": str(self.file),
            "C_FORCE_ROOT": "1",
            "PYTHONPATH": str(HERE),
        }
        self.prefix = ("-m", "umbel.celery") if engine == "umbel" else ()
        log = (folder / "worker.log").open("w")
        self.worker = subprocess.Popen(
            [
                *(sys.executable, *self.prefix, "-m", "celery", "-A", "panel_jobs", "worker"),
                *("-l", "info", "-c", "2", "-n", "panel@here"),
            ],
            env=self.environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        self.ask("until(lambda: inspect.ping())")

    def ask(self, *lines: str) -> Any:
        """The value of the last of `lines`, which a client of the same engine evaluates."""
        program = "\n".join(
            [
                "import json, os, time",
                "from panel_jobs import *",
                "inspect = app.control.inspect(timeout=3, limit=1)",
                "control = app.control",
                "def until(asked):",
                f"    deadline = time.monotonic() + {PATIENCE}",
                "    while time.monotonic() < deadline:",
                "        if (value := asked()): return value",
                "        time.sleep(0.02)",
                "    raise SystemExit(f'it has not come: {value!r}')",
                "reply = dict(reply=True, timeout=3, limit=1)",
                *lines[:-1],
                f"print(json.dumps({lines[-1]}))",
            ]
        )
        import json

        return json.loads(run(*self.as_script(program), cwd=self.folder, env=self.environment))

    def as_script(self, program: str) -> tuple[str, ...]:
        script = self.folder / "client.py"
        script.write_text(program)
        return (*self.prefix, str(script))

    def shell(self, *arguments: str) -> str:
        return run(
            *self.prefix,
            "-m",
            "celery",
            "-A",
            "panel_jobs",
            *arguments,
            cwd=self.folder,
            env=self.environment,
        )

    def heard(self, wanted: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while wanted not in self.file.read_text():
            assert time.monotonic() < deadline, (wanted, self.file.read_text())
            time.sleep(0.02)


@pytest.fixture(params=ENGINES, scope="module")
def panel(request: pytest.FixtureRequest, place: Place, tmp_path_factory: Any) -> Iterator[Panel]:
    place.messages.flushall()
    panel = Panel(request.param, place, tmp_path_factory.mktemp("panel"))
    try:
        yield panel
    finally:
        panel.worker.terminate()
        try:
            panel.worker.wait(timeout=60 if panel.engine == "umbel" else 10)
        except subprocess.TimeoutExpired:
            panel.worker.kill()
            assert panel.engine == "celery", panel.worker.args


umbels = pytest.mark.parametrize("panel", ["umbel"], indirect=True)
"""Where Celery does something else: it does not revoke what waits for its rate, and loses track of processes it has added."""


@pytest.fixture
def gate(tmp_path: pathlib.Path) -> Callable[[], str]:
    return lambda: str(tmp_path / "gate")


def test_a_queue_is_added_and_taken_away(panel: Panel) -> None:
    seen = panel.ask(
        "added = control.add_consumer('extra', **reply)",
        "again = control.add_consumer('extra', **reply)",
        "value = echo.apply_async(('here',), queue='extra').get(timeout=20)",
        "names = sorted(q['name'] for q in inspect.active_queues()['panel@here'])",
        "gone = control.cancel_consumer('extra', **reply)",
        "left = until(lambda: [q['name'] for q in inspect.active_queues()['panel@here']] == ['panel'])",
        "[added, again, value, names, gone, left]",
    )
    assert seen == [
        [{"panel@here": {"ok": "add consumer extra"}}],
        [{"panel@here": {"ok": "add consumer extra"}}],
        "here",
        ["extra", "panel"],
        [{"panel@here": {"ok": "no longer consuming from extra"}}],
        True,
    ]


def test_what_comes_to_a_queue_that_was_taken_away_waits(panel: Panel) -> None:
    state = panel.ask(
        "control.add_consumer('left', **reply)",
        "control.cancel_consumer('left', **reply)",
        "until(lambda: [q['name'] for q in inspect.active_queues()['panel@here']] == ['panel'])",
        "waits = echo.apply_async((1,), queue='left')",
        "[echo.delay(n).get(timeout=20) for n in range(3)]",
        "state = waits.state",
        "control.add_consumer('left', **reply)",
        "value = waits.get(timeout=20)",
        "control.cancel_consumer('left', **reply)",
        "[state, value]",
    )
    assert state == ["PENDING", 1]


@umbels
def test_processes_are_added_and_taken_away(panel: Panel) -> None:
    seen = panel.ask(
        "size = lambda: inspect.stats()['panel@here']['pool']['max-concurrency']",
        "grown = control.pool_grow(2, **reply)",
        "until(lambda: size() == 4)",
        "pids = {r.get(timeout=20) for r in [pid.delay(0.4) for _ in range(4)]}",
        "shrunk = control.pool_shrink(2, **reply)",
        "until(lambda: size() == 2)",
        "fewer = {r.get(timeout=20) for r in [pid.delay(0.1) for _ in range(8)]}",
        "[grown, len(pids) >= 3, shrunk, len(fewer) <= 4]",
    )
    assert seen == [
        [{"panel@here": {"ok": "pool will grow"}}],
        True,
        [{"panel@here": {"ok": "pool will shrink"}}],
        True,
    ]


def test_a_task_is_limited_in_its_rate(panel: Panel) -> None:
    seen = panel.ask(
        "told = control.rate_limit('panel_jobs.limited', '120/m', **reply)",
        "times = sorted(r.get(timeout=60) for r in [limited.delay() for _ in range(5)])",
        "pace = (times[-1] - times[0]) / 4",
        "freed = control.rate_limit('panel_jobs.limited', 0, **reply)",
        "[r.get(timeout=60) for r in [limited.delay() for _ in range(30)]]",
        "unknown = control.rate_limit('no.such', '1/m', **reply)",
        "wrong = control.rate_limit('panel_jobs.limited', '100/fortnight', **reply)",
        "listed = [t for t in inspect.registered('rate_limit')['panel@here'] if 'limited' in t]",
        "[told, 0.4 < pace < 2, freed, unknown, 'error' in wrong[0]['panel@here'], len(listed)]",
    )
    assert seen == [
        [{"panel@here": {"ok": "new rate limit set successfully"}}],
        True,
        [{"panel@here": {"ok": "rate limit disabled successfully"}}],
        [{"panel@here": {"error": "unknown task"}}],
        True,
        1,
    ]


@umbels
def test_what_waits_for_its_rate_is_shown_and_revoked(panel: Panel) -> None:
    seen = panel.ask(
        "control.rate_limit('panel_jobs.limited', '2/h', **reply)",
        "first = limited.delay()",
        "first.get(timeout=20)",
        "waits = limited.delay()",
        "shown = until(lambda: [r['id'] for r in inspect.reserved()['panel@here'] if r['id'] == waits.id])",
        "control.revoke(waits.id, **reply)",
        "control.rate_limit('panel_jobs.limited', 0, **reply)",
        "until(lambda: waits.state == 'REVOKED')",
        "len(shown)",
    )
    assert seen == 1


@umbels
def test_the_limits_of_a_task_are_changed(panel: Panel, gate: Callable[[], str]) -> None:
    seen = panel.ask(
        "told = control.time_limit('panel_jobs.patient', soft=None, hard=1, **reply)",
        f"late = patient.delay({gate()!r})",
        "late.get(timeout=40, propagate=False)",
        "unknown = control.time_limit('no.such', hard=1, **reply)",
        "control.time_limit('panel_jobs.patient', soft=None, hard=300, **reply)",
        "[told, late.state, type(late.result).__name__, unknown]",
    )
    assert seen == [
        [{"panel@here": {"ok": "time limits set successfully"}}],
        "FAILURE",
        "TimeLimitExceeded",
        [{"panel@here": {"error": "unknown task"}}],
    ]


def test_calls_are_revoked_by_their_stamps(panel: Panel, gate: Callable[[], str]) -> None:
    first, second, open_gate = f"{gate()}1", f"{gate()}2", f"{gate()}3"
    seen = panel.ask(
        f"open({open_gate!r}, 'w').close()",
        f"running = patient.s({first!r}).set(stamped_headers=['who'], who='ann').apply_async()",
        f"other = patient.s({second!r}).set(stamped_headers=['who'], who='bob').apply_async()",
        "until(lambda: len(inspect.active()['panel@here']) == 2)",
        "control.revoke_by_stamped_headers({'who': ['ann']}, terminate=True, signal='SIGKILL')",
        "until(lambda: running.state == 'REVOKED')",
        f"late = patient.s({first!r}).set(stamped_headers=['who'], who='ann').apply_async()",
        f"plain = patient.s({open_gate!r}).set(stamped_headers=['who'], who='eve').apply_async()",
        "until(lambda: late.state == 'REVOKED')",
        f"open({second!r}, 'w').close()",
        "[other.get(timeout=20), plain.get(timeout=20)]",
    )
    assert seen == ["done", "done"]


@umbels
def test_processes_are_replaced(panel: Panel) -> None:
    seen = panel.ask(
        "pids = lambda: set(inspect.stats()['panel@here']['pool']['processes'])",
        "before = pids()",
        "told = control.pool_restart(**reply)",
        "until(lambda: len(pids()) == 2 and not pids() & before)",
        "[told, echo.delay(1).get(timeout=20)]",
    )
    assert seen == [[{"panel@here": {"ok": "reload started"}}], 1]


def test_commands_of_the_program(panel: Panel) -> None:
    seen = panel.ask(
        "told = control.broadcast('set_number', arguments={'value': 4}, **reply)",
        "first = inspect._request('number')",
        "second = inspect._request('number', add=2)",
        "failed = control.broadcast('fail', **reply)",
        "[told, first, second, 'it fails' in failed[0]['panel@here']['error']]",
    )
    answer = {"number": 4, "host": "panel@here", "main": "panel_jobs"}
    assert seen == [
        [{"panel@here": {"ok": "now 4"}}],
        {"panel@here": answer},
        {"panel@here": {**answer, "number": 6}},
        True,
    ]
    assert "10" in panel.shell("inspect", "number", "6", "--timeout", "5")
    assert "now 0" in panel.shell("control", "set_number", "0", "--timeout", "5")


def test_receivers_hear_what_a_worker_receives(panel: Panel) -> None:
    task_id, late_id, lost_id = panel.ask(
        "done = echo.delay(1)",
        "late = echo.apply_async((1,), expires=-5)",
        "lost = app.send_task('no.such.task', queue='panel')",
        "done.get(timeout=20)",
        "[done.id, late.id, lost.id]",
    )
    panel.heard(f"received panel_jobs.echo {task_id}")
    panel.heard(f"revoked {late_id} False True")
    panel.heard(f"unknown no.such.task {lost_id}")


def test_events_tell_what_was_sent(panel: Panel) -> None:
    seen = panel.ask(
        "import threading",
        "from kombu.utils.uuid import uuid",
        "events, ready = [], threading.Event()",
        """
def listen():
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={'*': events.append})
        for _ in receiver.itercapture(limit=None, timeout=None, wakeup=True):
            ready.set()
thread = threading.Thread(target=listen, daemon=True)
thread.start()
"""
        if panel.engine == "celery"
        else """
def listen():
    receiver = app.events.Receiver(handlers={'*': events.append})
    receiver.capture(limit=None, timeout=None, wakeup=True)
thread = threading.Thread(target=listen, daemon=True)
thread.start()
""",
        "until(lambda: any(e['type'] == 'worker-heartbeat' for e in events))",
        "result = echo.delay('x')",
        "result.get(timeout=20)",
        "mine = lambda: [e for e in list(events) if e.get('uuid') == result.id]",
        "until(lambda: {'task-sent', 'task-received', 'task-started', 'task-succeeded'} <= {e['type'] for e in mine()})",
        "(sent,) = [e for e in mine() if e['type'] == 'task-sent']",
        "[sent['name'], sent['queue'], sent['routing_key'], sent['retries'], sent['args']]",
    )
    assert seen == ["panel_jobs.echo", "panel", "panel", 0, "('x',)"]


def test_what_is_due_later_and_what_is_revoked_is_shown(panel: Panel) -> None:
    seen = panel.ask(
        "later = echo.apply_async((1,), countdown=600)",
        "entry = until(lambda: [e for e in inspect.scheduled()['panel@here'] if e['request']['id'] == later.id])[0]",
        "control.revoke(later.id, **reply)",
        "known = until(lambda: later.id in inspect.revoked()['panel@here'])",
        "[entry['request']['name'], entry['request']['args'], known, type(entry['eta']).__name__]",
    )
    assert seen == ["panel_jobs.echo", [1], True, "str"]


@umbels
def test_what_waits_for_its_rate_survives_its_node(panel: Panel) -> None:
    held = panel.ask(
        "results = [early.delay() for _ in range(4)]",
        "results[0].get(timeout=20)",
        "ids = {result.id for result in results[1:]}",
        "until(lambda: ids <= {call['id'] for call in inspect.reserved()['panel@here']})",
        "os.kill(inspect.stats()['panel@here']['pid'], 9)",
        "from umbel import portal",
        "depth = portal.run(app.broker.depth(['panel']))['panel']",
        "depth.held + depth.waiting",
    )
    assert held == 3  # the one that was acknowledged has run
    panel.ask("until(lambda: inspect.ping())")
