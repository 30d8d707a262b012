"""Programs about names, defaults and values of Celery's surface; run as those of ``surface.py``."""

from __future__ import annotations

import datetime
import json
import pickle
import sys
import warnings
from collections.abc import Callable
from typing import Any

PROGRAMS: dict[str, Callable[[], Any]] = {}


def program(function: Callable[[], Any]) -> Callable[[], Any]:
    PROGRAMS[function.__name__] = function
    return function


def _app(**settings: Any) -> Any:
    from celery import Celery

    return Celery("api", broker="memory://", changes=settings or None)


EXCEPTIONS = [
    "Retry",
    "Ignore",
    "Reject",
    "MaxRetriesExceededError",
    "SoftTimeLimitExceeded",
    "TimeLimitExceeded",
    "TimeoutError",
    "TaskRevokedError",
    "WorkerLostError",
    "ChordError",
    "OperationalError",
    "NotRegistered",
    "ImproperlyConfigured",
    "Terminated",
    "AlreadyRegistered",
    "InvalidTaskError",
    "TaskError",
    "TaskPredicate",
    "CeleryError",
    "BackendError",
    "BackendGetMetaError",
    "BackendStoreError",
    "QueueNotFound",
    "IncompleteStream",
    "SecurityError",
    "WorkerShutdown",
    "WorkerTerminate",
    "CeleryCommandException",
    "NotConfigured",
    "CeleryWarning",
]


@program
def every_exception_is_there() -> Any:
    from celery import exceptions

    seen = {}
    for name in EXCEPTIONS:
        cls = getattr(exceptions, name)
        seen[name] = [isinstance(cls, type), issubclass(cls, BaseException)]
    return seen


@program
def exceptions_are_raised_and_caught() -> Any:
    from celery import exceptions as e

    seen: list[Any] = []
    for raised, caught in (
        ("Retry", "TaskPredicate"),
        ("Ignore", "TaskPredicate"),
        ("Reject", "TaskPredicate"),
        ("MaxRetriesExceededError", "TaskError"),
        ("NotRegistered", "TaskError"),
        ("ChordError", "Exception"),
        ("BackendGetMetaError", "BackendError"),
        ("BackendStoreError", "BackendError"),
        ("WorkerShutdown", "SystemExit"),
        ("WorkerTerminate", "SystemExit"),
        ("NotConfigured", "CeleryWarning"),
    ):
        catch = (
            getattr(e, caught, None)
            or getattr(__builtins__, caught, None)
            or {"SystemExit": SystemExit}.get(caught, Exception)
        )
        seen.append([raised, issubclass(getattr(e, raised), catch)])
    lost = pickle.loads(pickle.dumps(e.WorkerLostError("gone")))
    seen += [str(lost), str(e.NotRegistered("t")) != "", str(e.TaskRevokedError("revoked"))]
    seen.append(str(e.MaxRetriesExceededError("Can't retry")))
    return seen


@program
def arguments_of_an_app() -> Any:
    from celery import Celery

    app = Celery(
        "proj",
        broker="memory://one",
        backend="cache+memory://" if "umbel" not in sys.modules else "memory://",
        include=["json"],
        changes={"task_acks_late": True},
        namespace="CELERY",
    )
    app.conf.update(timezone="Europe/Oslo", worker_concurrency=3)
    seen = [app.main, app.conf.broker_url, list(app.conf.include), app.conf.task_acks_late, str(app.timezone)]
    seen += [
        app.conf.worker_concurrency,
        app.conf["timezone"],
        app.conf.get("nothing"),
        "broker_url" in app.conf,
    ]
    return [*seen, str(app.now().tzinfo), app.gen_task_name("add", "mod")]


@program
def what_tasks_begin_with() -> Any:
    app = _app()

    @app.task
    def plain() -> None:
        """Nothing."""

    @app.task(bind=True, name="full", max_retries=7, default_retry_delay=9, rate_limit="3/s", time_limit=8, ignore_result=True,
              autoretry_for=(KeyError,), retry_backoff=True, retry_backoff_max=5, retry_jitter=False, acks_late=True, queue="q",
              priority=2, serializer="yaml", expires=60, throws=(ValueError,), track_started=True, typing=False)  # fmt: skip
    def full(self: Any) -> None:
        """Something."""

    names = ("name", "max_retries", "default_retry_delay", "rate_limit", "time_limit", "soft_time_limit", "ignore_result", "serializer",
             "priority", "expires", "queue", "typing", "acks_late", "track_started", "__doc__", "trail", "send_events")  # fmt: skip
    seen = [
        [getattr(full, name, None) for name in names],
        full.throws,
        full.app is app,
        full.request.id,
        full.request.called_directly,
    ]
    plain_names = (
        "max_retries",
        "default_retry_delay",
        "typing",
        "time_limit",
        "expires",
        "priority",
        "__name__",
        "trail",
        "abstract",
    )
    return [
        *seen,
        [getattr(plain, name, None) for name in plain_names],
        "full" in app.tasks,
        app.tasks["full"] is not None,
    ]


@program
def typing_is_checked_or_not() -> Any:
    app = _app()

    @app.task(typing=False, name="loose")
    def loose(x: int) -> int:
        return x

    @app.task(name="strict")
    def strict(x: int, *, y: int = 2) -> int:
        return x + y

    seen = [strict.apply((1,), {"y": 3}).get(), loose.apply((1,)).get()]
    for call in (lambda: strict.apply_async(()), lambda: strict.delay(1, 2, 3), lambda: strict.delay(1, z=3)):
        try:
            call()
        except TypeError:
            seen.append("TypeError")
    return seen


@program
def schedules_that_are_due() -> Any:
    from celery.schedules import BaseSchedule, crontab, maybe_schedule, schedstate, schedule

    app = _app(timezone="UTC")
    now = datetime.datetime(2026, 3, 10, 12, 30, tzinfo=datetime.UTC)
    ago = lambda **past: now - datetime.timedelta(**past)  # noqa: E731
    seen: list[Any] = []
    every = schedule(datetime.timedelta(minutes=10), nowfun=lambda: now, app=app)
    seen += [list(every.is_due(ago(minutes=n))) for n in (1, 9, 10, 11)]
    for fields in (
        {},
        {"minute": 30},
        {"minute": 0, "hour": 13},
        {"minute": "*/15"},
        {"minute": 0, "hour": 0, "day_of_month": "1"},
        {"minute": 0, "hour": 12, "day_of_week": "mon,wed"},
        {"minute": 5, "hour": 4, "month_of_year": "*/6"},
        {"minute": 0, "hour": 12, "day_of_month": "29", "month_of_year": "2"},
    ):
        cron = crontab(**fields, nowfun=lambda: now, app=app)
        due, wait = cron.is_due(ago(minutes=1))
        seen.append([repr(cron), due, round(wait)])
        seen.append(round(cron.remaining_estimate(ago(days=40)).total_seconds()))
    seen += [isinstance(every, BaseSchedule), schedstate(True, 3).next, maybe_schedule(30, app=app).seconds]
    seen += [
        crontab.from_string("5 4 * * 1") == crontab(minute=5, hour=4, day_of_week=1),
        schedule(10) == schedule(10),
    ]
    back = pickle.loads(pickle.dumps(crontab(minute=5, hour="3-6")))
    return [*seen, back == crontab(minute=5, hour="3,4,5,6")]


@program
def entries_of_a_schedule() -> Any:
    from celery.beat import ScheduleEntry, Scheduler
    from celery.schedules import schedule

    app = _app(
        beat_schedule={"a": {"task": "t", "schedule": 10, "args": (1,), "options": {"queue": "q"}}},
        result_expires=None,
    )
    scheduler = Scheduler(app=app)
    entry = scheduler.schedule["a"]
    again = next(entry)
    scheduler.add(name="b", task="u", schedule=schedule(60), kwargs={"k": 1})
    scheduler.update_from_dict({"c": {"task": "v", "schedule": datetime.timedelta(seconds=5)}})
    seen = [
        sorted(scheduler.schedule),
        list(entry.args),
        entry.options,
        entry.schedule.seconds,
        again.total_run_count,
    ]
    seen += [
        isinstance(entry, ScheduleEntry),
        entry.editable_fields_equal(again),
        scheduler.schedules_equal(scheduler.schedule, scheduler.schedule),
    ]
    scheduler.merge_inplace({"c": {"task": "w", "schedule": 5}})
    return [*seen, sorted(scheduler.schedule), scheduler.schedule["c"].task, 0 < scheduler.tick() <= 300]


@program
def signals_and_their_names() -> Any:
    from celery import signals

    names = [
        "task_prerun",
        "task_postrun",
        "task_success",
        "task_failure",
        "task_retry",
        "before_task_publish",
        "after_task_publish",
        "worker_ready",
        "worker_init",
        "worker_process_init",
        "worker_process_shutdown",
        "worker_shutdown",
        "setup_logging",
        "after_setup_logger",
        "after_setup_task_logger",
        "task_received",
        "task_revoked",
        "task_unknown",
        "task_rejected",
        "task_internal_error",
        "celeryd_init",
        "celeryd_after_setup",
        "worker_shutting_down",
        "worker_before_create_process",
        "beat_init",
        "beat_embedded_init",
        "heartbeat_sent",
        "import_modules",
        "user_preload_options",
    ]
    return {name: [getattr(signals, name).name, callable(getattr(signals, name).connect)] for name in names}


@program
def publishing_is_signalled() -> Any:
    from celery.signals import after_task_publish, before_task_publish

    app, seen = _app(task_default_queue="pub"), []

    @app.task(name="pub.task")
    def task(x: int) -> int:
        return x

    @before_task_publish.connect(sender="pub.task", weak=False)
    def before(sender: Any, body: Any, routing_key: str, headers: Any, **more: Any) -> None:
        seen.append(
            [
                "before",
                sender,
                list(body[0]),
                routing_key,
                headers["task"],
                sorted(set(more) & {"declare", "properties", "retry_policy"}),
            ]
        )

    @after_task_publish.connect(sender="pub.task", weak=False)
    def after(sender: Any, headers: Any, routing_key: str, **more: Any) -> None:
        seen.append(["after", sender, routing_key, headers["id"] != ""])

    task.delay(3)
    return seen


def main() -> None:
    warnings.simplefilter("ignore")
    report = {}
    for name, function in PROGRAMS.items():
        try:
            report[name] = function()
        except Exception as exc:  # noqa: BLE001 - what it raises is what is compared
            report[name] = [type(exc).__name__, str(exc)]
    json.dump(report, sys.stdout, default=str)


if __name__ == "__main__":
    main()
