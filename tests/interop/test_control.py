"""Remote control on Redis: either client asks either worker."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from interop import harness
from interop.harness import CeleryClient, Place, Process
from interop.umbel_side import make_app
from umbel import Umbel, errors

UMBELS, CELERYS = "umbel-to-umbel@interop", "celery-to-celery@interop"


# --------------------------------------------------------------------------- Celery's client, Umbel's worker


def asked(celery: CeleryClient, source: str) -> object:
    """What Umbel's worker answers when Celery's client inspects it."""
    return celery(f"app.control.inspect([{UMBELS!r}], timeout=10).{source}")[UMBELS]  # type: ignore[index]


def test_celery_pings_umbel(celery: CeleryClient, umbel_worker: Process) -> None:
    assert asked(celery, "ping()") == {"ok": "pong"}
    assert {UMBELS: {"ok": "pong"}} in celery("app.control.ping(timeout=2)")
    assert {UMBELS: {"ok": "pong"}} in celery(
        "app.control.broadcast('ping', reply=True, pattern='umbel-to-*', matcher='glob', timeout=10, limit=1)"
    )


def test_celery_reads_what_umbel_is(celery: CeleryClient, umbel_worker: Process) -> None:
    assert "jobs.add" in asked(celery, "registered()")  # type: ignore[operator]
    assert [queue["name"] for queue in asked(celery, "active_queues()")] == ["to-umbel", "both"]  # type: ignore[attr-defined]
    stats = asked(celery, "stats()")
    assert stats["pool"]["max-concurrency"] == 2  # type: ignore[index]
    assert len(stats["pool"]["processes"]) == 2  # type: ignore[index]
    conf = asked(celery, "conf()")
    assert conf["task_default_queue"] == "to-umbel"  # type: ignore[index]
    assert "redis" not in conf["broker_url"]  # type: ignore[index]
    assert "umbel" in asked(celery, "report()")["ok"]  # type: ignore[index]


def test_celery_sees_what_runs_in_umbel(
    celery: CeleryClient, umbel_worker: Process, place: Place, fresh: str
) -> None:
    task_id = celery(f"wait.delay({fresh!r}).id")
    place.arrived(fresh)
    try:
        (info,) = [call for call in asked(celery, "active()") if call["id"] == task_id]  # type: ignore[attr-defined]
        assert (info["name"], info["args"], info["hostname"]) == ("jobs.wait", [fresh], UMBELS)
        assert info["delivery_info"]["routing_key"] == "to-umbel"
        assert asked(celery, f"query_task({task_id!r})")[task_id][0] == "active"  # type: ignore[index]
        assert all(call["id"] != task_id for call in asked(celery, "reserved()"))  # type: ignore[attr-defined]
    finally:
        place.open(fresh)


def test_celery_revokes_what_waits_for_umbel(
    celery: CeleryClient, umbel_worker: Process, place: Place, fresh: str
) -> None:
    gates = [f"{fresh}a", f"{fresh}b"]
    for gate in gates:
        celery(f"wait.delay({gate!r}).id")
        place.arrived(gate)
    try:
        task_id = celery("add.delay(1, 1).id")
        answer = celery(f"app.control.revoke({task_id!r}, reply=True, destination=[{UMBELS!r}], timeout=10)")
        assert answer[0][UMBELS]["ok"] == f"revoke: {task_id}"
    finally:
        for gate in gates:
            place.open(gate)
    assert (
        celery(f"(outcome(app.AsyncResult({task_id!r})), app.AsyncResult({task_id!r}).state)[1]") == "REVOKED"
    )


def test_celery_terminates_what_runs_in_umbel(
    celery: CeleryClient, umbel_worker: Process, place: Place, fresh: str
) -> None:
    task_id = celery(f"wait.delay({fresh!r}).id")
    place.arrived(fresh)
    celery(f"app.control.revoke({task_id!r}, terminate=True, signal='SIGKILL')")
    assert (
        celery(f"(outcome(app.AsyncResult({task_id!r})), app.AsyncResult({task_id!r}).state)[1]") == "REVOKED"
    )


def test_what_umbel_cannot_do_is_an_error_and_not_silence(
    celery: CeleryClient, umbel_worker: Process
) -> None:
    ((_, answer),) = celery(f"app.control.autoscale(4, 2, reply=True, destination=[{UMBELS!r}], timeout=10)")[
        0
    ].items()
    assert "pool_grow" in answer["error"]
    unknown = celery(
        f"app.control.broadcast('dance', reply=True, destination=[{UMBELS!r}], timeout=10)[0][{UMBELS!r}]"
    )
    assert "no command 'dance'" in unknown["error"]
    wrong = celery(
        f"app.control.broadcast('revoke', dict(x=1), reply=True, destination=[{UMBELS!r}], timeout=10)[0][{UMBELS!r}]"
    )
    assert "error" in wrong


BAD = [
    b"",
    b"nonsense",
    b"[]",
    b'"text"',
    b"{}",
    b'{"body": 1}',
    b'{"body": "W10=", "content-type": "application/json", "properties": {"body_encoding": "base64"}}',
    b'{"body": "!!", "content-type": "application/json", "properties": {"body_encoding": "base64"}}',
    b'{"body": "gAR9lC4=", "content-type": "application/x-python-serialize", "properties": {"body_encoding": "base64"}}',
    b'{"body": "{\\"method\\": [1]}", "content-type": "application/json", "properties": {}}',
    b'{"body": "{\\"method\\": \\"ping\\", \\"reply_to\\": {\\"routing_key\\": []}}", "content-type": "application/json", "properties": {}}',
    b'{"body": "{\\"method\\": \\"ping\\", \\"pattern\\": \\"(\\", \\"matcher\\": \\"pcre\\"}", "content-type": "application/json", "properties": {}}',
]


def test_bad_commands_leave_the_worker_as_it_is(place: Place, fresh: str) -> None:
    """In a box of their own: they would be too much for a worker of Celery that hears them too."""
    name = f"umbel-{fresh}@interop"
    app = make_app(place.broker, place.backend, fresh, control_exchange=fresh)
    with harness.umbel_worker(place, fresh, control_exchange=fresh):
        for message in BAD:
            place.messages.publish(f"/0.{fresh}.pidbox", message)
            assert app.control.ping(destination=[name], timeout=10) == [{name: {"ok": "pong"}}]


def test_celery_shuts_umbel_down(celery: CeleryClient, place: Place, fresh: str) -> None:
    with harness.umbel_worker(place, fresh) as worker:
        celery(f"app.control.shutdown(destination=['umbel-{fresh}@interop'])")
        assert worker.popen.wait(harness.PATIENCE) == 0


# --------------------------------------------------------------------------- Umbel's client, Celery's worker


def test_umbel_pings_both(app: Umbel, umbel_worker: Process, celery_worker: Process) -> None:
    answers = app.control.inspect(timeout=20, limit=2).ping()
    assert answers == {UMBELS: {"ok": "pong"}, CELERYS: {"ok": "pong"}}
    assert app.control.ping(destination=CELERYS, timeout=10) == [{CELERYS: {"ok": "pong"}}]
    assert app.control.inspect(["nobody@interop"], timeout=0.2).ping() is None


def test_umbel_sees_what_runs_in_celery(app: Umbel, celery_worker: Process, place: Place, fresh: str) -> None:
    result = app.tasks["jobs.wait"].delay(fresh)
    place.arrived(fresh)
    try:
        answer = app.control.inspect([CELERYS], timeout=10).active()
        assert answer is not None
        assert result.id in [call["id"] for call in answer[CELERYS]]
    finally:
        place.open(fresh)
    heard: list[object] = []
    app.control.inspect([CELERYS], timeout=10, callback=heard.append).registered()
    assert len(heard) == 1


def test_umbel_controls_celery(app: Umbel, celery_worker: Process) -> None:
    options = {"reply": True, "timeout": 10}
    (answer,) = app.control.rate_limit("jobs.add", "100/s", destination=[CELERYS], **options)
    assert "ok" in answer[CELERYS]
    (answer,) = app.control.rate_limit("jobs.add", 0, destination=[CELERYS], **options)
    assert "ok" in answer[CELERYS]


def test_umbel_terminates_what_runs_in_celery(
    app: Umbel, celery_worker: Process, place: Place, fresh: str
) -> None:
    result = app.tasks["jobs.wait"].delay(fresh)
    place.arrived(fresh)
    app.control.revoke(result.id, terminate=True, signal="SIGKILL")
    with pytest.raises(errors.TaskRevokedError):
        result.get(timeout=harness.PATIENCE)


# ------------------------------------------------------------------------------------------ the command line


def test_the_command_line(umbel_worker: Process, run_umbel: Callable[..., str]) -> None:
    answer = json.loads(run_umbel("inspect", "ping", "-d", UMBELS, "-t", "10", "--json"))
    assert answer == {UMBELS: {"ok": "pong"}}
    assert "jobs.add" in run_umbel("inspect", "registered", "-d", UMBELS, "-t", "10")
    assert "revoke: some-id" in run_umbel("control", "revoke", "some-id", "-d", UMBELS, "-t", "10")
    assert "active_queues" in run_umbel("inspect", "--list")
