"""An app for both engines with commands and receivers of its own; what they hear goes to a file."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery, signals
from celery.worker.control import control_command, inspect_command

app = Celery("panel_jobs", broker=os.environ["PANEL_REDIS"], backend=os.environ["PANEL_REDIS"])
app.conf.update(
    task_acks_late=True,
    worker_pool_restarts=True,
    task_default_queue="panel",
    control_exchange="panel-control",
    event_exchange="panel-events",
    task_send_sent_event=True,
    worker_send_task_events=True,
    broker_transport_options={"fanout_prefix": True, "fanout_patterns": True},
)
_numbers = {"number": 0}


def note(line: str) -> None:
    with open(os.environ["PANEL_FILE"], "a") as file:
        file.write(line + "\n")


@inspect_command(args=[("add", int)], signature="[ADD=0]")
def number(state: Any, add: int = 0) -> dict[str, Any]:
    """Tells a number."""
    return {"number": _numbers["number"] + add, "host": state.hostname, "main": state.app.main}


@control_command(args=[("value", int)], signature="VALUE")
def set_number(state: Any, value: int) -> dict[str, Any]:
    """Sets it."""
    _numbers["number"] = value
    return {"ok": f"now {value}"}


@control_command()
def fail(state: Any) -> None:
    """Raises."""
    raise RuntimeError("it fails")


@signals.task_received.connect
def received(request: Any, **more: Any) -> None:
    note(f"received {request.name} {request.id}")


@signals.task_revoked.connect
def revoked(request: Any, terminated: bool, expired: bool, **more: Any) -> None:
    note(f"revoked {request.id} {bool(terminated)} {bool(expired)}")


@signals.task_unknown.connect
def unknown(name: str, id: str, **more: Any) -> None:
    note(f"unknown {name} {id}")


@app.task(name="panel_jobs.echo")
def echo(value: Any) -> Any:
    return value


@app.task(name="panel_jobs.limited", rate_limit="600/m")
def limited() -> float:
    return time.time()


@app.task(name="panel_jobs.early", rate_limit="2/h", acks_late=False)
def early() -> None:
    """Runs twice an hour, and is acknowledged before."""


@app.task(name="panel_jobs.pid")
def pid(seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return os.getpid()


@app.task(name="panel_jobs.patient")
def patient(path: str) -> str:
    note(f"runs {path}")
    while not os.path.exists(path):
        time.sleep(0.01)
    return "done"
