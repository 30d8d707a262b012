"""Uses the project as an application does, and prints what it sees: the same under Celery and under Umbel."""

import json

from celery import chain, chord, group, signature
from celery.exceptions import TimeoutError
from celery.result import AsyncResult
from celery.signals import after_task_publish, before_task_publish
from proj.celery import app
from proj.tasks import add, broken, flaky, quiet, render, total

seen = []


@before_task_publish.connect
def before(sender=None, headers=None, body=None, routing_key=None, **kwargs):
    seen.append(("before", sender, routing_key, headers["id"] is not None, body[0]))


@after_task_publish.connect(sender="proj.tasks.render")
def after(sender=None, routing_key=None, **kwargs):
    seen.append(("after", sender, routing_key))


def outcome(result):
    try:
        return [result.get(timeout=20), result.successful()]
    except TimeoutError:
        return "nothing came"
    except KeyError as exc:
        return [type(exc).__name__, str(exc), result.state]


def until_halfway(result):
    while AsyncResult(result.id, app=app).state != "HALFWAY":
        pass
    return [result.state, result.info]


report = {
    "delay": outcome(add.delay(1, 2)),
    "options": outcome(add.apply_async((2,), {"y": 3}, countdown=0.1, priority=3)),
    "by name": outcome(app.send_task("proj.tasks.add", (3, 4))),
    "retry": outcome(flaky.delay(2)),
    "autoretry": outcome(broken.delay("shoe")),
    "routed": outcome(render.delay("page")),
    "chain": outcome(chain(add.s(1, 1), add.s(2), add.s(3)).delay()),
    "group": outcome(group(add.s(i, i) for i in range(4)).delay()),
    "chord": outcome(chord((add.s(i, 1) for i in range(4)), total.s()).delay()),
    "pipe": outcome((group(add.s(1, 1), add.s(2, 2)) | total.s() | add.s(10)).delay()),
    "signature": outcome(signature("proj.tasks.add", args=(5, 5)).delay()),
    "link": outcome(add.apply_async((1, 1), link=add.s(1))),
    "own state": until_halfway(quiet.delay()),
    "eager": add.apply((4, 4)).get(),
    "direct": add(5, 6),
    "settings": [app.conf.task_track_started, app.conf.task_acks_late, sorted(app.amqp.queues)],
    "schedule": repr(app.conf.beat_schedule["every-morning"]["schedule"]),
    "names": sorted(name for name in app.tasks if name.startswith("proj.")),
    "signals": seen,
}
print(json.dumps(report, indent=1, sort_keys=True))
