"""Small programs that say ``from celery import …``. Run as a script it prints what each of them sees, as JSON.

The same file is run by Celery and by Umbel in its place; ``test_as_celery.py`` compares.
"""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

PROGRAMS: dict[str, Callable[[], Any]] = {}


def program(function: Callable[[], Any]) -> Callable[[], Any]:
    PROGRAMS[function.__name__] = function
    return function


def _app(**settings: Any) -> Any:
    from celery import Celery

    return Celery("surface", broker="memory://", set_as_current=True, changes=settings or None)


@program
def names_that_projects_import() -> Any:
    from billiard.exceptions import WorkerLostError as Lost
    from celery import (  # noqa: F401
        Celery,
        Task,
        chain,
        chord,
        current_app,
        current_task,
        group,
        shared_task,
        signature,
        subtask,
        uuid,
        xmap,
    )
    from celery._state import get_current_task  # noqa: F401
    from celery.app import app_or_default
    from celery.app.base import Celery as Base
    from celery.app.task import Context
    from celery.app.task import Task as AppTask
    from celery.canvas import Signature, _chain, maybe_signature  # noqa: F401
    from celery.exceptions import WorkerLostError
    from celery.local import Proxy  # noqa: F401
    from celery.result import AsyncResult, EagerResult, GroupResult, ResultSet, allow_join_result  # noqa: F401
    from celery.schedules import crontab, schedule  # noqa: F401
    from celery.utils import gen_unique_id
    from celery.utils.log import get_logger, get_task_logger  # noqa: F401
    from kombu import Exchange, Queue  # noqa: F401
    from kombu.exceptions import OperationalError  # noqa: F401
    from kombu.utils.uuid import uuid as kombu_uuid

    app = _app()
    return [
        Base is Celery,
        issubclass(AppTask, Task),
        Lost is WorkerLostError,
        app_or_default(app) is app,
        len(uuid()) == len(gen_unique_id()) == len(kombu_uuid()),
        Context(id="x").id,
    ]


@program
def version() -> Any:
    import importlib.metadata

    import celery

    return [celery.VERSION[0], celery.__version__[:1], importlib.metadata.version("celery")[:2]]


@program
def an_app_is_there_without_one() -> Any:
    from celery import current_app, shared_task

    @shared_task
    def alone(x: int) -> int:
        return x

    return [alone(3), current_app.main, "alone" in alone.name]


@program
def settings_of_every_form() -> Any:
    app = _app(task_time_limit=30)
    app.conf.update(task_soft_time_limit=20, worker_concurrency="2", my_own="x")
    app.conf["another"] = 1
    app.conf.task_track_started = 1
    app.add_defaults({"fresh": "f", "task_default_queue": "d", "task_time_limit": 1})
    app.add_defaults(lambda: {"late": "l"})
    seen = [app.conf.task_time_limit, app.conf.task_soft_time_limit, int(app.conf.worker_concurrency)]
    seen += [app.conf.my_own, app.conf["another"], bool(app.conf.task_track_started), app.conf.fresh]
    seen += [app.conf.get("nothing", 5), app.conf.get("task_compression", 5), "my_own" in app.conf]
    app.conf.setdefault("my_own", 3)
    app.conf.setdefault("brand_new", 4)
    seen += [app.conf.my_own, app.conf.brand_new, app.conf.task_default_queue, app.conf.late]
    try:
        app.conf.nothing_of_that_name  # noqa: B018
    except AttributeError:
        seen.append("AttributeError")
    return seen


@program
def settings_from_an_object() -> Any:
    class Settings:
        task_acks_late = True
        task_serializer = "json"

    class Named:
        CELERY_TASK_ACKS_LATE = True
        CELERY_TIMEZONE = "Europe/Oslo"
        OTHER = 1

    app = _app()
    app.config_from_object(Settings)
    other = _app()
    other.config_from_object(Named(), namespace="CELERY")
    third = _app()
    third.config_from_object("no.such.module", silent=True)
    return [
        app.conf.task_acks_late,
        other.conf.task_acks_late,
        str(other.timezone),
        third.conf.task_acks_late,
    ]


@program
def options_of_tasks_become_attributes() -> Any:
    from celery import Task

    class Base(Task):
        flavour = "plain"

    app = _app(task_annotations={"mine": {"rate_limit": "7/s"}, "*": {"note": "all"}})

    @app.task(base=Base, name="mine", flavour="sweet", priority=3, owner="me", bind=True, ignore_result=True)
    def mine(self: Any) -> Any:
        return self.flavour

    return [mine.name, mine(), mine.priority, mine.owner, mine.rate_limit, mine.note, mine.ignore_result]


@program
def class_based_tasks() -> Any:
    from celery import Task

    class Adder(Task):
        name = "adder"

        def run(self, x: int, y: int) -> int:
            return x + y

    app = _app()
    task = app.register_task(Adder())
    return [task.name, task(1, 2), app.tasks["adder"].apply((3, 4)).get(), "adder" in app.tasks]


@program
def requests_can_be_pushed() -> Any:
    app = _app()

    @app.task(bind=True, name="pushed")
    def pushed(self: Any) -> Any:
        return [self.request.id, self.request.retries, self.request.called_directly]

    pushed.push_request(id="abc", retries=2, called_directly=False)
    try:
        return [pushed.run(), pushed.request.id]
    finally:
        pushed.pop_request()


@program
def retries_in_place() -> Any:
    app = _app()

    @app.task(bind=True, name="again", max_retries=3)
    def again(self: Any) -> int:
        if self.request.retries < 2:
            raise self.retry(countdown=0)
        return int(self.request.retries)

    return [again.apply().get(), again.apply().state]


@program
def hooks_and_signals_in_place() -> Any:
    from celery import Task
    from celery.signals import task_failure, task_postrun, task_prerun, task_retry, task_success

    seen: list[Any] = []

    class Hooked(Task):
        def before_start(self, task_id: Any, args: Any, kwargs: Any) -> None:
            seen.append("before_start")

        def on_success(self, retval: Any, task_id: Any, args: Any, kwargs: Any) -> None:
            seen.append(("on_success", retval))

        def on_failure(self, exc: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
            seen.append(("on_failure", repr(exc)))

        def on_retry(self, exc: Any, task_id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
            seen.append("on_retry")

        def after_return(self, status: Any, *rest: Any) -> None:
            seen.append(("after_return", status))

    @task_prerun.connect(weak=False)
    def prerun(sender: Any, task_id: str, task: Any, args: Any, kwargs: Any, **more: Any) -> None:
        seen.append(("prerun", sender.name, list(args), kwargs))

    @task_postrun.connect(weak=False)
    def postrun(sender: Any, state: str, **more: Any) -> None:
        seen.append(("postrun", state))

    @task_success.connect(weak=False)
    def success(sender: Any, result: Any, **more: Any) -> None:
        seen.append(("success", result))

    @task_failure.connect(weak=False)
    def failure(sender: Any, exception: Any, **more: Any) -> None:
        seen.append(("failure", repr(exception), sorted(more)))

    @task_retry.connect(weak=False)
    def retried(sender: Any, request: Any, reason: Any, einfo: Any, **more: Any) -> None:
        seen.append(("retry", request.retries))

    app = _app()

    @app.task(base=Hooked, name="hooked", bind=True, max_retries=1)
    def hooked(self: Any, how: str) -> str:
        if how == "fail":
            raise ValueError(how)
        if how == "retry" and not self.request.retries:
            raise self.retry(countdown=0)
        return how

    hooked.apply(("well",))
    first, seen = seen, []
    hooked.apply(("fail",))
    second, seen = seen, []
    hooked.apply(("retry",))
    return [first, second, sorted(str(entry) for entry in seen)]


@program
def signals_are_connected_and_disconnected() -> Any:
    from celery.utils.dispatch import Signal

    signal, seen = Signal(name="s", providing_args={"x"}), []

    def receiver(x: int, sender: Any, **more: Any) -> int:
        seen.append((sender, x))
        return x

    def failing(**more: Any) -> None:
        raise ValueError("no")

    signal.connect(receiver)
    signal.connect(receiver, sender="one", dispatch_uid="u")
    signal.connect(receiver, sender="one", dispatch_uid="u")
    signal.connect(failing)
    answers = [repr(answer) for _, answer in signal.send(sender="one", x=1)]
    signal.send(sender="two", x=2)
    signal.disconnect(receiver)
    signal.disconnect(sender="one", dispatch_uid="u")
    signal.send(sender="one", x=3)
    return [seen, answers, signal.has_listeners()]


@program
def states() -> Any:
    from celery import states

    return [
        sorted(states.READY_STATES),
        sorted(states.UNREADY_STATES),
        sorted(states.EXCEPTION_STATES),
        sorted(states.PROPAGATE_STATES),
        sorted(states.ALL_STATES),
        [states.precedence(s) for s in ("SUCCESS", "PENDING", "OWN")],
        states.state("PENDING") < states.state("SUCCESS"),
        states.state("STARTED") > states.state("PENDING"),
    ]


@program
def exceptions() -> Any:
    from celery import exceptions as e

    retry = e.Retry("later", ValueError("x"), when=3)
    reject = e.Reject("bad", requeue=True)
    return [
        issubclass(e.MaxRetriesExceededError, e.TaskError),
        issubclass(e.Retry, e.TaskPredicate),
        issubclass(e.Ignore, e.TaskPredicate),
        issubclass(e.SoftTimeLimitExceeded, Exception),
        [retry.message, repr(retry.exc), retry.when],
        [reject.reason, reject.requeue],
    ]


@program
def crontabs() -> Any:
    from celery.schedules import crontab, crontab_parser, schedule

    return [
        repr(crontab(minute="*/15", hour="8-17", day_of_week="mon-fri")),
        sorted(crontab(minute="*/15").minute),
        sorted(crontab(day_of_week="mon-fri,sun").day_of_week),
        sorted(crontab(month_of_year="1-12/3").month_of_year),
        crontab(hour=3, minute=0) == crontab(hour="3", minute="0"),
        sorted(crontab_parser(24).parse("20-3,7")),
        schedule(run_every=30) == schedule(datetime.timedelta(seconds=30)),
        schedule(30).seconds,
        repr(crontab(0, 0, day_of_month="1")),
    ]


@program
def periodic_tasks_from_code() -> Any:
    app = _app()
    seen: list[str] = []

    @app.task(name="tick")
    def tick(x: int) -> None:
        """Nothing."""

    @app.on_after_configure.connect
    def on_configure(sender: Any, **more: Any) -> None:
        sender.add_periodic_task(10.0, tick.s(1), name="every ten")
        seen.append("configured")

    @app.on_after_finalize.connect
    def on_finalize(sender: Any, **more: Any) -> None:
        seen.append("finalized")

    app.conf.task_default_queue  # noqa: B018 - settings are read, and then the app is ready
    app.finalize()
    app.loader.import_default_modules()
    entry = app.conf.beat_schedule["every ten"]
    return [sorted(seen), entry["task"], list(entry["args"])]


@program
def queues() -> Any:
    from kombu import Exchange, Queue

    app = _app(
        task_queues=[
            Queue("a", Exchange("ex", type="direct"), routing_key="a.key"),
            Queue("b", routing_key="b"),
        ],
        task_default_queue="a",
    )
    queue = app.amqp.queues["a"]
    return [sorted(app.amqp.queues), queue.name, queue.exchange.name, queue.routing_key, str(Queue("x").name)]


@program
def models() -> Any:
    from pydantic import BaseModel

    class Order(BaseModel):
        number: int
        name: str = "x"

    globals()["Order"] = Order  # annotations are looked up by name
    app = _app()

    @app.task(name="ship", pydantic=True)
    def ship(order: Order) -> Order:
        assert isinstance(order, Order)
        return Order(number=order.number + 1)

    return ship.apply(({"number": "4"},)).get()


@program
def json_of_kombu() -> Any:
    from kombu.utils.json import dumps, loads

    text = dumps({"at": datetime.date(2026, 1, 2), "n": 1})
    return [loads(text)["n"], json.loads(text)["at"]["__type__"]]


def main() -> None:
    warnings.simplefilter("ignore")
    report = {}
    for name, function in PROGRAMS.items():
        try:
            report[name] = function()
        except Exception as exc:  # noqa: BLE001 - what it raises is what is compared
            report[name] = [type(exc).__name__, str(exc)]
    with tempfile.TemporaryDirectory():
        json.dump(report, sys.stdout, default=str)


if __name__ == "__main__":
    main()
