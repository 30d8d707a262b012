"""Workflows, run by real workers."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from umbel import GroupResult, Signature, chain, chord, group, xmap, xstarmap
from umbel.errors import ChordError, WorkerLostError
from umbel.flow.repeated import chunks
from worker.conftest import Running
from worker.harness import Site, eventually

WAIT = 30.0


def call(name: str, *args: Any, **options: Any) -> Signature:
    return Signature(f"flow.{name}", args, {}, options)


def add(*args: int) -> Signature:
    return call("add", *args)


def total() -> Signature:
    return call("total")


def same(*values: Any) -> Signature:
    return call("same", *values)


CANVASES: dict[str, tuple[Callable[[], Signature], Any]] = {
    "chain": (lambda: chain(add(1, 2), add(3), add(4)), 10),
    "chain of one": (lambda: chain(add(1, 2)), 3),
    "pipe": (lambda: add(1, 2) | add(3) | add(4), 10),
    "chain in a chain": (lambda: chain(add(1, 2), chain(add(3), add(4)), add(5)), 15),
    "immutable": (lambda: add(1, 2) | call("add", 5, 5).set(immutable=True), 10),
    "group": (lambda: group(add(1, 1), add(2, 2), add(3, 3)), [2, 4, 6]),
    "group of one": (lambda: group(add(1, 1)), [2]),
    "group of groups": (lambda: group(add(1, 1), group(add(2, 2), add(3, 3))), [2, 4, 6]),
    "group of chains": (lambda: group(add(1, 1) | add(1), add(2, 2) | add(2)), [3, 6]),
    "chord": (lambda: chord([add(1, 1), add(2, 2), add(3, 3)], total()), 12),
    "chord of one": (lambda: chord([add(1, 1)], total()), 2),
    "chord of none": (lambda: chord([], total()), 0),
    "order": (lambda: chord([add(n, 0) for n in range(20)], same()), [*range(20)]),
    "group then task": (lambda: group(add(1, 1), add(2, 2)) | total(), 6),
    "group then task then task": (lambda: group(add(1, 1), add(2, 2)) | total() | add(10), 16),
    "task then group": (lambda: add(1, 1) | group(add(1), add(2)), [3, 4]),
    "task, group, task": (lambda: add(1, 1) | group(add(1), add(2)) | total(), 7),
    "task, group, task, task": (lambda: add(1, 1) | group(add(1), add(2)) | total() | add(1), 8),
    "group then group": (lambda: group(add(1, 1), add(2, 2)) | group(total(), total()), [6, 6]),
    "group, group, task": (lambda: group(add(1, 1), add(2, 2)) | group(total(), total()) | total(), 12),
    "group, task, group, task": (
        lambda: group(add(1, 1), add(2, 2)) | total() | group(add(1), add(2)) | total(),
        15,
    ),
    "task then a group of one": (lambda: add(1, 1) | group(add(1)) | add(2), 5),
    "empty group in a chain": (lambda: chain(add(1, 1), group(), add(1)), 3),
    "chord then task": (lambda: chord([add(1, 1), add(2, 2)], total()) | add(1) | add(2), 9),
    "chord with a chain for its body": (lambda: chord([add(1, 1), add(2, 2)], total() | add(1)), 7),
    "chord with a group for its body": (
        lambda: chord([add(1, 1), add(2, 2)], group(total(), total())),
        [6, 6],
    ),
    "chord with a chord for its body": (
        lambda: chord([add(1, 1), add(2, 2)], chord([total(), total()], total())),
        12,
    ),
    "chains in a chord": (lambda: chord([add(1, 1) | add(1), add(2, 2)], total()), 7),
    "chords in a chord": (
        lambda: chord([chord([add(1, 1), add(2, 2)], total()), add(3, 3)], total()),
        12,
    ),
    "chords that end chains in a chord": (
        lambda: chord([add(1, 1) | group(add(1), add(2)) | total(), add(3, 3)], total()),
        13,
    ),
    "groups that end chains in a chord": (
        lambda: chord([add(1, 1) | group(add(1), add(2)), add(3, 3)], same()),
        [[3, 4], 6],
    ),
    "chords that end in groups in a chord": (
        lambda: chord([chord([add(1, 1)], group(total(), total())), add(3, 3)], same()),
        [[2, 2], 6],
    ),
    "4 x 3 x 3": (
        lambda: (
            group(
                chord([chord([add(1, 1), add(1, 1), add(1, 1)], total()) for _ in range(3)], total())
                for _ in range(4)
            )
            | total()
        ),
        72,
    ),
    "map": (lambda: xmap(add(), [1, 2, 3]), [1, 2, 3]),
    "starmap": (lambda: xstarmap(add(), [(1, 2), (3, 4)]), [3, 7]),
    "chunks": (lambda: chunks(add(), zip(range(5), range(5), strict=True), 2), [[0, 2], [4, 6], [8]]),
    "retries in a chord": (lambda: chord([call("retries", 1, 2), call("retries", 2, 1)], total()), 3),
    "replaced": (lambda: call("becomes", add(1, 2).to_dict()) | add(10), 13),
    "replaced by a chain": (lambda: call("becomes", (add(1, 2) | add(3)).to_dict()) | add(10), 16),
    "replaced by a group": (lambda: call("becomes", group(add(1, 1), add(2, 2)).to_dict()) | total(), 6),
    "replaced by a chord": (
        lambda: call("becomes", chord([add(1, 1), add(2, 2)], total()).to_dict()) | add(10),
        16,
    ),
    "replaced in a chord": (
        lambda: chord([call("becomes", (add(1, 2) | add(3)).to_dict()), add(1, 1)], total()),
        8,
    ),
    "replaced by a chord in a chord": (
        lambda: chord(
            [call("becomes", chord([add(1, 1), add(2, 2)], total()).to_dict()), add(1, 1)], total()
        ),
        8,
    ),
    "another member": (lambda: chord([call("adds_another", 1), add(2, 2)], total()), 106),
}


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def flowing(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_site: Callable[[str, pathlib.Path], Site],
) -> Iterator[Running]:
    """A worker that several tests share."""
    site = make_site(request.param, tmp_path_factory.mktemp("site"))
    with site.worker(app="flow_jobs") as worker:
        yield Running(site, worker, "prefork")
        assert worker.stop() == 0
        failed = [entry.key for entry in site.shelf("dead")]  # what tests have let fail
        site.ask(lambda broker: broker.discard("dead", failed))
        site.assert_nothing_left()
    site.close()


def send(site: Site, canvas: Signature, **options: Any) -> Any:
    canvas._app = site.app
    return canvas.apply_async(**options)


@pytest.mark.parametrize("name", CANVASES)
def test_a_workflow_has_the_value_that_celery_gives_it(flowing: Running, name: str) -> None:
    make, value = CANVASES[name]
    assert send(flowing.site, make()).get(timeout=WAIT) == value


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
@pytest.mark.parametrize("name", ["chain", "chords in a chord", "replaced in a chord"])
def test_in_other_pools(site: Site, pool: str, name: str) -> None:
    make, value = CANVASES[name]
    with site.worker(app="flow_jobs", pool=pool) as worker:
        assert send(site, make()).get(timeout=WAIT) == value
        assert worker.stop() == 0
    site.assert_nothing_left()


# -- failures


def fails() -> Signature:
    return call("fails")


FAILURES: dict[str, tuple[Callable[[], Signature], type[Exception]]] = {
    "chain": (lambda: chain(add(1, 2), fails(), add(1), add(2)), ValueError),
    "first of a chain": (lambda: chain(fails(), add(1)), ValueError),
    "header": (lambda: chord([add(1, 1), fails()], total()), ChordError),
    "whole header": (lambda: chord([fails(), fails()], total()), ChordError),
    "chain in a header": (lambda: chord([add(1, 1) | fails() | add(1), add(1, 1)], total()), ChordError),
    "header, and a chain after it": (lambda: chord([fails()], total()) | add(1) | add(2), ChordError),
    "body": (lambda: chord([add(1, 1)], fails()), ValueError),
    "body, and a chain after it": (lambda: chord([add(1, 1)], fails()) | add(1), ValueError),
    "chord in a chord": (lambda: chord([chord([fails()], total()), add(1, 1)], total()), ChordError),
    "chord after a chord": (lambda: chord([fails()], chord([total(), total()], total())), ChordError),
    "a group after a failure": (lambda: add(1, 1) | fails() | group(add(1), add(2)) | total(), ValueError),
    "replaced": (lambda: call("becomes", (add(1, 1) | fails()).to_dict()) | add(1), ValueError),
    "replaced in a chord": (
        lambda: chord([call("becomes", fails().to_dict()), add(1, 1)], total()),
        ChordError,
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_reaches_whoever_waits(flowing: Running, name: str) -> None:
    make, error = FAILURES[name]
    result = send(flowing.site, make())
    with pytest.raises(error):
        result.get(timeout=WAIT)
    assert result.state == "FAILURE"


def test_a_group_as_a_body_fails_call_by_call(flowing: Running) -> None:
    result = send(flowing.site, chord([fails()], group(total(), total())))
    errors = result.get(timeout=WAIT, propagate=False)
    assert [type(error) for error in errors] == [ChordError, ChordError]


def test_a_chord_may_collect_what_has_failed(flowing: Running) -> None:
    result = send(flowing.site, chord([add(1, 1), fails()], same(), on_failure="collect") | same())
    [value, failure] = result.get(timeout=WAIT)
    assert (value, failure["exc_type"], failure["exc_message"]) == (2, "ValueError", ["no ()"])
    assert send(flowing.site, chord([], same(), on_failure="collect")).get(timeout=WAIT) == []


def test_the_error_of_a_chord_names_the_call_that_failed(flowing: Running) -> None:
    result = send(flowing.site, chord([add(1, 1), fails()], total()))
    with pytest.raises(ChordError) as caught:
        result.get(timeout=WAIT)
    culprit = result.parent.results[1]
    assert str(caught.value) == f"Dependency {culprit.id} raised ValueError('no ()')"


def test_errbacks_hear_of_the_failure_of_their_call(flowing: Running, unique: str) -> None:
    site = flowing.site
    hears, is_told = call("hears"), call("is_told", unique)
    canvas = chain(add(1, 2), fails(), add(1))
    canvas.link_error(is_told)
    result = send(site, canvas)
    result.get(timeout=WAIT, propagate=False)
    site.wait_for_note(result.parent.id, unique)
    canvas = chord([fails()], total())
    canvas.link_error(hears)
    result = send(site, canvas)
    result.get(timeout=WAIT, propagate=False)
    site.wait_for_note("heard", result.id, "ChordError")


def test_a_callback_of_a_workflow_is_called_with_its_value(flowing: Running, unique: str) -> None:
    site = flowing.site
    for canvas, value in ((add(1, 2) | add(3), 6), (chord([add(1, 1)], total()), 2)):
        canvas.link(call("says", unique, str(value)))
        send(site, canvas).get(timeout=WAIT)
        site.wait_for_note(value, unique, value)


def test_a_member_that_is_revoked_fails_its_chord(site: Site) -> None:
    canvas = chord([call("waits", "never", 1), add(1, 1)], total())
    result = send(site, canvas)
    result.parent.results[0].revoke()
    with site.worker(app="flow_jobs") as worker:
        with pytest.raises(ChordError, match="TaskRevokedError"):
            result.get(timeout=WAIT)
        assert worker.stop() == 0


def test_a_member_that_loses_its_process_fails_its_chord(site: Site) -> None:
    with site.worker(app="flow_jobs") as worker:
        result = send(site, chord([call("dies"), add(1, 1)], total()))
        with pytest.raises(ChordError, match="WorkerLostError"):
            result.get(timeout=WAIT)
        with pytest.raises(WorkerLostError):
            result.parent.results[0].get(timeout=WAIT)
        chained = send(site, chain(call("dies"), add(1), add(2)))
        with pytest.raises(WorkerLostError):
            chained.get(timeout=WAIT)
        assert worker.stop() == 0


# -- results


def test_the_results_of_a_workflow_know_one_another(flowing: Running) -> None:
    result = send(flowing.site, add(1, 1) | group(add(1), add(2)) | total() | add(1))
    assert result.get(timeout=WAIT) == 8
    assert result.parent.get(timeout=WAIT) == 7
    members = result.parent.parent
    assert isinstance(members, GroupResult)
    assert members.get(timeout=WAIT) == [3, 4]
    assert members.parent.get(timeout=WAIT) == 2
    assert result.root == members.parent
    first = flowing.site.app.AsyncResult(members.parent.id)
    assert [value for _, value in first.collect()] == [2, 7, 8]


def test_a_group_result_is_saved_and_restored(flowing: Running) -> None:
    app = flowing.site.app
    result = send(flowing.site, group(add(1, 1), add(2, 2)))
    result.save()
    restored = app.GroupResult.restore(result.id)
    assert restored == result
    assert restored.get(timeout=WAIT) == [2, 4]
    assert (restored.ready(), restored.successful(), restored.completed_count()) == (True, True, 2)
    restored.delete()
    assert app.GroupResult.restore(result.id) is None


@pytest.mark.parametrize("kind", ["chain", "group", "chord"])
def test_a_task_begins_a_workflow(flowing: Running, kind: str) -> None:
    app = flowing.site.app
    began = send(flowing.site, call("begins", kind))
    found = began.get(timeout=WAIT)
    [child] = began.children
    assert child.id == found
    values = {"chain": 6, "group": [3, 7], "chord": 10}
    assert child.get(timeout=WAIT) == values[kind]
    assert app.AsyncResult(began.id).children == [child]


# -- once more, from where it failed


@pytest.mark.parametrize(
    ("make", "value", "failures"),
    [
        (lambda: add(1, 2) | call("mends", "a") | add(10), 13, 1),
        (lambda: chord([add(1, 1), call("mends", "a", 1), call("mends", "b", 2)], total()) | add(10), 15, 2),
        (lambda: chord([add(1, 1) | call("mends", "a"), add(2, 2)], total()), 6, 1),
        (lambda: chord([add(1, 1)], call("mends", "a")) | same(), [2], 1),
        (lambda: add(1, 2) | call("mends", "a"), 3, 1),
        (lambda: chord([add(1, 1)], call("mends", "a")), [2], 1),
    ],
    ids=["chain", "chord", "chain in a chord", "body", "last of a chain", "body, the last"],
)
def test_a_workflow_goes_on_where_it_failed(
    site: Site, make: Callable[[], Signature], value: Any, failures: int
) -> None:
    with site.worker(app="flow_jobs") as worker:
        result = send(site, make())
        with pytest.raises((ValueError, ChordError)):
            result.get(timeout=WAIT)
        site.wait_for_shelf("dead", failures)
        (site.directory / "mended").touch()
        assert result.rerun() == failures
        eventually(result.successful, "the end of the second try")
        assert result.get() == value
        assert worker.stop() == 0
    ran = [line for line in site.notes() if line.startswith("mends")]
    assert len(ran) == 2 * failures
    site.assert_nothing_left()


def test_failed_calls_may_be_let_go(site: Site) -> None:
    with site.worker(app="flow_jobs", settings={"flow_keep_failed": 0}) as worker:
        for canvas in (fails() | add(1), chord([fails()], total())):
            with pytest.raises((ValueError, ChordError)):
                send(site, canvas).get(timeout=WAIT)
        assert worker.stop() == 0
    site.assert_nothing_left()


def test_no_code_of_the_application_runs_in_the_node(site: Site) -> None:
    """An errback that is called in place elsewhere gets a message, as any other, when the node ends the call."""
    with site.worker(app="flow_jobs") as worker:
        canvas = chord([call("dies")], total())
        canvas.link_error(call("tells_its_process"))
        result = send(site, canvas)
        with pytest.raises(ChordError):
            result.get(timeout=WAIT)
        eventually(site.notes, "the errback")
        assert worker.node_pid not in {int(line.split()[1]) for line in site.notes()}
        assert worker.stop() == 0


def test_an_errback_that_exits_ends_nothing_but_itself(flowing: Running) -> None:
    canvas = chord([fails()], total())
    canvas.link_error(call("exits"))
    result = send(flowing.site, canvas)
    with pytest.raises(ChordError):
        result.get(timeout=WAIT)
