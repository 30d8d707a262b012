"""What a web process of the project does; prints what it has seen, as JSON."""

import json
import os
import time

import django
from packages_project.celery import note, watch

django.setup()

import sentry_sdk  # noqa: E402
from celery import chord, group  # noqa: E402
from celery_once import AlreadyQueued  # noqa: E402
from django_celery_beat.models import IntervalSchedule, PeriodicTask  # noqa: E402
from django_celery_results.models import TaskResult  # noqa: E402
from packages_project.tasks import add, fail, once, strictly_once  # noqa: E402

LONG = 40


def until(asked):
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        if value := asked():
            return value
        time.sleep(0.05)
    raise SystemExit(f"it has not come: line {asked.__code__.co_firstlineno}")


def results():
    """django-celery-results: rows."""
    added = add.delay(2, 3)
    value = added.get(timeout=LONG)
    row = TaskResult.objects.get(task_id=added.id)
    failed = fail.delay()
    error = type(failed.get(timeout=LONG, propagate=False)).__name__
    lost = TaskResult.objects.get(task_id=failed.id)
    joined = chord(group(add.s(n, n) for n in range(4)), add.si(1, 1)).delay().get(timeout=LONG)
    saved = group(add.s(1, 1), add.s(2, 2)).apply_async()
    return [
        value,
        [row.status, json.loads(row.result), row.task_name, row.worker is not None],
        [error, lost.status, json.loads(lost.result)["exc_type"], "as it should" in (lost.traceback or "")],
        joined,
        saved.get(timeout=LONG),
    ]


def locks():
    """celery-once: a lock while the call waits and runs."""
    gate = os.path.join(os.environ["PACKAGES_FOLDER"], "gate")
    first = once.delay(gate)
    second = once.delay(gate)
    strict = strictly_once.delay(gate)
    try:
        strictly_once.delay(gate)
        refused = False
    except AlreadyQueued:
        refused = True
    open(gate, "w").close()
    values = [first.get(timeout=LONG), strict.get(timeout=LONG)]
    until(lambda: getattr(once.delay(gate), "id", None))  # the lock has gone with the run
    return [getattr(second, "id", None), refused, values]


def beats():
    """django-celery-beat: a row that is added while beat runs is sent."""
    every, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(
        interval=every, name="ticks", task="packages_project.tasks.tick", args='["tock"]'
    )
    until(
        lambda: (
            TaskResult.objects.filter(task_name="packages_project.tasks.tick", status="SUCCESS").count() >= 2
        )
    )
    task = until(lambda: PeriodicTask.objects.filter(name="ticks", last_run_at__isnull=False).first())
    row = TaskResult.objects.filter(task_name="packages_project.tasks.tick").first()
    return [json.loads(row.result), task.enabled]


def watched():
    """Sentry and OpenTelemetry: transactions, errors and spans that hang together."""
    watch()
    with sentry_sdk.start_transaction(name="web", op="http") as transaction:
        failed = fail.delay()
    failed.get(timeout=LONG, propagate=False)
    note("sent.txt", id=failed.id, trace=transaction.trace_id)
    return [failed.id, transaction.trace_id]


print(json.dumps({"results": results(), "locks": locks(), "beats": beats(), "watched": watched()}))
