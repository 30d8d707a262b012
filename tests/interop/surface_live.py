"""Programs that send to a worker of their own engine, and print what they see. ``test_surface.py`` compares."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

PROGRAMS: dict[str, Callable[[], Any]] = {}
LONG = 30
FOLDER = pathlib.Path(tempfile.mkdtemp())


def program(function: Callable[[], Any]) -> Callable[[], Any]:
    PROGRAMS[function.__name__] = function
    return function


def until(asked: Callable[[], Any], seconds: float = LONG) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := asked():
            return value
        time.sleep(0.02)
    raise AssertionError("it has not come")


def of(result: Any) -> Any:
    """How it ends, comparably."""
    try:
        return ["value", result.get(timeout=LONG)]
    except Exception as exc:  # noqa: BLE001 - what it raises is what is compared
        return [type(exc).__name__, str(exc)]


@program
def arguments_and_results() -> Any:
    from live_jobs import add, echo

    result = add.delay(2, 3)
    value = result.get(timeout=LONG)
    seen = [
        value,
        result.status,
        result.state,
        result.result,
        result.info,
        result.ready(),
        result.successful(),
    ]
    seen += [
        result.failed(),
        result.traceback,
        result.id == result.task_id,
        isinstance(result.as_tuple(), tuple),
    ]
    seen += [
        add.AsyncResult(result.id).get(timeout=LONG),
        echo.apply_async((1,), {"k": "v"}).get(timeout=LONG),
    ]
    seen += [add.apply_async(args=[1], kwargs={"y": 2}).get(timeout=LONG), str(result) == result.id]
    seen += [result == add.AsyncResult(result.id), hash(result) == hash(add.AsyncResult(result.id))]
    return seen


@program
def what_is_stored() -> Any:
    from live_jobs import add

    result = add.apply_async((1, 1))
    result.get(timeout=LONG)
    again = add.AsyncResult(result.id)
    seen = [again.name, list(again.args), again.kwargs, again.worker is not None, again.retries, again.queue]
    return [*seen, isinstance(again.date_done, datetime.datetime), again.parent, again.children]


@program
def what_is_forgotten() -> Any:
    from live_jobs import add

    result = add.delay(1, 1)
    result.get(timeout=LONG)
    result.forget()
    return [add.AsyncResult(result.id).state, add.AsyncResult("never-sent").state]


@program
def failures() -> Any:
    from live_jobs import fail

    result = fail.delay()
    seen = [
        of(result),
        result.state,
        result.failed(),
        result.successful(),
        "as it should" in result.traceback,
    ]
    seen += [type(result.result).__name__, str(result.result), type(result.get(propagate=False)).__name__]
    seen.append(of(fail.delay("key"))[0])
    try:
        result.maybe_throw()
    except ValueError as exc:
        seen.append(str(exc))
    seen.append(type(result.maybe_throw(propagate=False)).__name__)
    return seen


@program
def wrong_arguments() -> Any:
    from live_jobs import add

    try:
        add.delay(1)
    except TypeError as exc:
        return "y" in str(exc)


@program
def retries() -> Any:
    from live_jobs import auto, retried

    done, lost = retried.delay(2), retried.delay(5)
    return [of(done), of(lost), lost.state, of(auto.delay(str(FOLDER / "auto")))]


@program
def other_endings() -> Any:
    from live_jobs import ignores, rejects, silent, soft

    seen = [of(soft.delay()), silent.delay().get(timeout=5)]
    lost, refused = ignores.delay(), rejects.delay()
    until(lambda: ignores.AsyncResult(lost.id).state in ("STARTED", "IGNORED", "PENDING"))
    return [*seen, refused.state != "SUCCESS"]


@program
def options_of_calls() -> Any:
    from live_jobs import request_of

    plain = request_of.delay(1, k=2).get(timeout=LONG)
    rich = request_of.apply_async(
        (3,),
        task_id="an-id-of-its-own",
        headers={"x-mine": "here"},
        priority=4,
        time_limit=50,
        soft_time_limit=40,
        shadow="another.name",
        expires=600,
        countdown=0.1,
    )
    seen = [plain, rich.get(timeout=LONG), rich.id]
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=0.2)
    seen.append(request_of.apply_async(eta=at).get(timeout=LONG)["eta"])
    seen.append(of(request_of.apply_async(expires=-1)))
    seen.append(request_of.apply_async(queue="live-other").get(timeout=LONG)["key"])
    seen.append(request_of.apply_async(routing_key="live", exchange="").get(timeout=LONG)["key"])
    seen.append(of(request_of.apply_async(ignore_result=True)))
    seen.append(
        request_of.apply_async(retry=True, retry_policy={"max_retries": 1}).get(timeout=LONG)["retries"]
    )
    return seen


@program
def serializers_and_compression() -> Any:
    from live_jobs import add, echo

    seen = [add.apply_async((1, 2), serializer=name).get(timeout=LONG) for name in ("json", "yaml", "pickle")]
    seen.append(echo.apply_async(("x" * 5000,), compression="zlib").get(timeout=LONG)[0][0] == "x" * 5000)
    when = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)
    back = echo.apply_async((when, {"a": [1, None, 2.5]}), serializer="json").get(timeout=LONG)
    seen.append([str(back[0][0])[:10], back[0][1]])
    return seen


@program
def routes() -> Any:
    from live_jobs import app, glob_one, routed

    answers = [routed.delay().get(timeout=LONG), glob_one.delay().get(timeout=LONG)]
    answers.append(app.AsyncResult(routed.delay().id).get(timeout=LONG))
    return answers


@program
def by_name() -> Any:
    from live_jobs import app, shared

    result = app.send_task("live_jobs.add", (1, 2))
    return [
        result.get(timeout=LONG),
        shared.delay(4).get(timeout=LONG),
        app.signature("live_jobs.mul", (2, 3)).delay().get(timeout=LONG),
    ]


@program
def own_states() -> Any:
    from live_jobs import progress

    gate = FOLDER / "progress"
    result = progress.delay(str(gate))
    until(lambda: result.state == "PROGRESS")
    seen = [result.info, result.ready()]
    gate.touch()
    return [*seen, result.get(timeout=LONG), result.state]


@program
def hooks() -> Any:
    from live_jobs import hooked

    seen = []
    for how in ("well", "fail", "retry"):
        path = FOLDER / f"hooks-{how}"
        of(hooked.delay(how, path=str(path)))
        until(lambda path=path, how=how: path.exists() and path.read_text().count("after_return") >= 1)
        time.sleep(0.2)
        seen.append(path.read_text().split("\n"))
    seen[2].sort()  # the next run may begin before the hook of the last one
    return seen


@program
def links() -> Any:
    from live_jobs import add, fail, on_error, on_error_id, write

    path, old, errors = FOLDER / "links", FOLDER / "old", pathlib.Path(os.environ["LIVE_ERRORS"])
    add.apply_async((1, 2), link=write.s(str(path)), link_error=on_error.s())
    add.apply_async((3, 4), link=[write.s(str(path)), write.si("fixed", str(path))])
    fail.apply_async(link_error=[on_error.s(), on_error_id.s(str(old))])
    signature = add.s(5, 5)
    signature.link(write.s(str(path)))
    signature.delay()
    until(lambda: path.exists() and len(path.read_text().split()) >= 4)
    until(errors.exists)
    until(old.exists)
    return [sorted(path.read_text().split()), errors.read_text().strip().split("\n")[-1], old.read_text()]


@program
def chains() -> Any:
    from celery import chain
    from live_jobs import add, fail, mul

    result = (add.s(1, 2) | mul.s(10) | add.s(5)).delay()
    seen = [
        result.get(timeout=LONG),
        result.parent.get(),
        result.parent.parent.get(),
        result.parent.parent.parent,
    ]
    seen.append(chain(add.s(1, 1), mul.si(3, 3), add.s(1))().get(timeout=LONG))
    seen.append(chain(add.s(1, 1)).apply_async().get(timeout=LONG))
    broken = (add.s(1, 1) | fail.si() | add.s(1)).apply_async()
    seen.append([of(broken.parent), broken.parent.state])  # Umbel lets those after it fail too
    seen.append(of(broken)[0])
    seen.append((add.s(2) | add.s(3)).apply_async((1,)).get(timeout=LONG))
    seen.append(chain(add.s(i) for i in range(4)).apply_async((0,)).get(timeout=LONG))
    return seen


@program
def groups() -> Any:
    from celery import group
    from celery.result import GroupResult
    from live_jobs import add, app, fail

    result = group(add.s(i, i) for i in range(4)).apply_async()
    seen = [
        result.get(timeout=LONG),
        result.completed_count(),
        result.ready(),
        result.successful(),
        len(result),
    ]
    seen += [[r.get() for r in result], result[0].get(), result.failed(), result.waiting()]
    result.save()
    restored = GroupResult.restore(result.id, app=app)
    seen += [restored.join(timeout=LONG), restored.id == result.id]
    restored.delete()
    seen.append(GroupResult.restore(result.id, app=app))
    mixed = group(add.s(1, 1), fail.s()).apply_async()
    seen.append([type(v).__name__ for v in mixed.get(timeout=LONG, propagate=False)])
    seen += [of(mixed)[0], mixed.failed()]
    seen.append(group([]).apply_async().get(timeout=LONG))
    seen.append(
        sorted(
            v for _, v in ((i, m["result"]) for i, m in group(add.s(i, 1) for i in range(3))().iter_native())
        )
    )
    seen.append(group(add.s(1), add.s(2)).apply_async((10,)).get(timeout=LONG))
    return seen


@program
def chords() -> Any:
    from celery import chord, group
    from live_jobs import add, adds_to_chord, fail, on_error, total

    errors = pathlib.Path(os.environ["LIVE_ERRORS"])
    seen = [chord(add.s(i, i) for i in range(5))(total.s()).get(timeout=LONG)]
    seen.append((group(add.s(i, 1) for i in range(3)) | total.s()).delay().get(timeout=LONG))
    seen.append((group(add.s(i, 1) for i in range(3)) | total.s() | add.s(100)).delay().get(timeout=LONG))
    seen.append((add.s(1, 1) | group(add.s(1), add.s(2)) | total.s()).delay().get(timeout=LONG))
    seen.append(chord([], total.s()).delay().get(timeout=LONG))
    broken = chord([add.s(1, 1), fail.s()], total.s().on_error(on_error.s())).delay()
    until(lambda: broken.state == "FAILURE")
    seen.append([type(broken.result).__name__, "as it should" in str(broken.result)])
    until(lambda: "ChordError" in errors.read_text() if errors.exists() else False)
    seen.append(chord([adds_to_chord.s(1), adds_to_chord.s(2)], total.s()).delay().get(timeout=LONG))
    seen.append(chord([add.s(1, 1) | add.s(5), add.s(2, 2)], total.s()).delay().get(timeout=LONG))
    return seen


@program
def repeated() -> Any:
    from live_jobs import add, mul, total

    seen = [add.starmap([(1, 2), (3, 4)]).delay().get(timeout=LONG)]
    seen.append(total.map([[1, 2], [3]]).delay().get(timeout=LONG))
    seen.append(mul.chunks([(i, i) for i in range(5)], 2).apply_async().get(timeout=LONG))
    seen.append(add.chunks(zip(range(4), range(4), strict=True), 2).group().apply_async().get(timeout=LONG))
    return seen


@program
def replacements() -> Any:
    from celery import chain, group
    from live_jobs import add, replaced, replaced_by_chain, replaced_by_group, total

    seen = [replaced.delay(1).get(timeout=LONG), (replaced.s(1) | add.s(1)).delay().get(timeout=LONG)]
    seen.append(replaced_by_chain.delay(3).get(timeout=LONG))
    seen.append(chain(replaced_by_group.s(3), total.s()).delay().get(timeout=LONG))
    seen.append((group(replaced.s(1), add.s(1, 1)) | total.s()).delay().get(timeout=LONG))
    return seen


@program
def signatures() -> Any:
    from celery import Signature, chain, signature
    from live_jobs import add, app

    plain = add.s(1)
    full = plain.clone((2,), countdown=0)
    frozen = add.s(1, 1).freeze("a-fixed-id")
    back = signature(json.loads(json.dumps(add.s(3, 4).set(queue="live"))), app=app)
    seen = [dict(plain), full.args, full.options.get("countdown"), frozen.id, back.delay().get(timeout=LONG)]
    seen += [
        plain(5),
        add.si(1, 2).immutable,
        Signature.from_dict(dict(add.s(1, 2))).args,
        add.signature((1, 1)).task,
    ]
    seen += [
        repr(add.s(1, 2)),
        add.s(1, 2) == add.s(1, 2),
    ]
    seen += [
        isinstance(add.s(1) | add.s(2), type(chain(add.s(1), add.s(2)))),
        len((add.s(1) | add.s(2) | add.s(3)).tasks),
        add.s(1, 1).apply().get(),
    ]
    seen.append(chain(add.s(1, 1), add.s(2)).apply().get())
    seen.append(add.subtask((1, 2)).delay().get(timeout=LONG))
    return seen


@program
def eager() -> Any:
    from celery import chord, group
    from live_jobs import add, fail, request_of, total

    result = add.apply((1, 2))
    seen = [
        result.get(),
        result.state,
        result.ready(),
        type(result).__name__,
        fail.apply().state,
        of(fail.apply()),
    ]
    told = request_of.apply((1,)).get
    seen += [group(add.s(1, 1), add.s(2, 2)).apply().get(), chord([add.s(1, 1)], total.s()).apply().get()]
    return [*seen, callable(told), add(1, 2)]


@program
def children() -> Any:
    from live_jobs import app, parent_of

    result = parent_of.delay(2)
    ids = result.get(timeout=LONG)
    seen = [
        [child.id for child in result.children] == ids,
        [child.get(timeout=LONG) for child in result.children],
    ]
    seen.append([(type(r).__name__, v if isinstance(v, int) else len(v)) for r, v in result.collect()])
    return [*seen, app.AsyncResult(ids[0]).parent]


@program
def result_sets() -> Any:
    from celery.result import ResultSet, allow_join_result, result_from_tuple
    from live_jobs import add, app

    one, two = add.delay(1, 1), add.delay(2, 2)
    results = ResultSet([one], app=app)
    results.add(two)
    results.add(two)
    seen = [len(results), results.get(timeout=LONG), results.completed_count()]
    results.discard(two)
    with allow_join_result():
        seen.append([r.get(timeout=LONG) for r in results])
    results.update([two])
    results.remove(one)
    seen.append(len(results))
    results.clear()
    return [*seen, len(results), result_from_tuple(one.as_tuple(), app=app).get(timeout=LONG)]


@program
def timeouts() -> Any:
    from live_jobs import progress

    gate = FOLDER / "timeouts"
    slow = progress.delay(str(gate))
    seen = of_with(slow, 0.2)
    gate.touch()
    return [seen, slow.get(timeout=LONG)]


def of_with(result: Any, timeout: float) -> Any:
    try:
        return result.get(timeout=timeout)
    except Exception as exc:  # noqa: BLE001
        return type(exc).__name__


@program
def callbacks_of_get() -> Any:
    from live_jobs import add

    seen: list[Any] = []
    result = add.delay(1, 2)
    result.get(timeout=LONG, callback=lambda id, value: seen.append((id == result.id, value)), interval=0.1)
    late = add.delay(2, 2)
    late.then(lambda r: seen.append(r.get()))
    late.get(timeout=LONG)
    return [seen[0], late.get(follow_parents=True, no_ack=True, disable_sync_subtasks=True)]


@program
def events_and_inspection() -> Any:
    from live_jobs import app

    inspect = app.control.inspect(timeout=3)
    (stats,) = inspect.stats().values()
    (queues,) = inspect.active_queues().values()
    (tasks,) = inspect.registered().values()
    seen = [sorted(q["name"] for q in queues), stats["pool"]["max-concurrency"], "live_jobs.add" in tasks]
    seen += [
        any(t.startswith("celery.") for t in tasks),
        list(inspect.ping().values()),
        sorted(stats)[:3] != [],
    ]
    return [
        *seen,
        [list(v) for v in inspect.active().values()],
        sorted({k for q in queues for k in q["exchange"]} & {"name", "type"}),
    ]


def main() -> None:
    warnings.simplefilter("ignore")
    report = {}
    for name in sys.argv[1:] or PROGRAMS:
        try:
            report[name] = PROGRAMS[name]()
        except Exception as exc:  # noqa: BLE001 - what it raises is what is compared
            report[name] = [type(exc).__name__, str(exc)]
    json.dump(report, sys.stdout, default=str)


if __name__ == "__main__":
    main()
