"""One queue, served by a Celery worker and an Umbel worker, filled by both clients."""

from __future__ import annotations

import signal

import pytest

from interop.harness import CeleryClient, Place, Process, eventually
from interop.harness import celery_worker as start_celery_worker
from interop.harness import umbel_worker as start_umbel_worker
from umbel import Umbel

BOTH = "both"
CALLS = 500


@pytest.mark.usefixtures("umbel_worker", "celery_worker")
def test_every_call_is_run_once_and_read_by_both(
    celery: CeleryClient, app: Umbel, place: Place, fresh: str
) -> None:
    half = CALLS // 2
    celery.ask(
        """
        mine = [count.apply_async((n, key), queue="both") for n in range(half)]
        [r.id for r in mine]
        """,
        half=half,
        key=fresh,
    )
    ours = app.tasks["jobs.count"].starmap_async([(n, fresh) for n in range(half, CALLS)], queue=BOTH)
    theirs = celery.answer()
    ids = [*theirs, *(result.id for result in ours)]

    read_here = app.results(ids).get(timeout=30)
    assert [number for number, _ in read_here] == list(range(CALLS))
    assert celery("[AsyncResult(i).get(timeout=20) for i in ids]", ids=ids) == read_here
    counts = place.notes.hgetall(fresh)
    assert {int(number): int(times) for number, times in counts.items()} == dict.fromkeys(range(CALLS), 1)
    assert {side for _, side in read_here} == {"celery", "umbel"}
    assert place.messages.llen(BOTH) == 0


@pytest.mark.usefixtures("umbel_worker", "celery_worker")
def test_a_retry_that_one_asks_for_is_run_by_the_other(celery: CeleryClient, app: Umbel) -> None:
    # Not 0: Celery sends the message first and writes RETRY then, over whatever the next try has written meanwhile.
    countdown = 0.5
    theirs = celery(
        "sent = [hop.delay(countdown) for _ in range(5)]; [r.id for r in sent]", countdown=countdown
    )
    ours = app.tasks["jobs.hop"].starmap_async([(countdown,)] * 5)
    sides = app.results([*theirs, *(r.id for r in ours)]).get(timeout=20)
    assert sides == [["umbel", "celery", "umbel", 2]] * 5 + [["celery", "umbel", "celery", 2]] * 5
    assert celery("[r.get(timeout=10) for r in sent]") == sides[:5]


@pytest.mark.usefixtures("umbel_worker", "celery_worker")
def test_retries_on_a_shared_queue(celery: CeleryClient, app: Umbel) -> None:
    theirs = celery("[flaky.apply_async((2,), queue='both').id for _ in range(10)]")
    ours = app.tasks["jobs.flaky"].starmap_async([(2,)] * 10, queue=BOTH)
    assert app.results([*theirs, *(r.id for r in ours)]).get(timeout=20) == [2] * 20


def test_what_a_stopping_celery_worker_gives_back_is_run_by_umbel(
    celery: CeleryClient, app: Umbel, place: Place, fresh: str
) -> None:
    with start_celery_worker(place, fresh, worker_prefetch_multiplier=10) as worker:
        blocker = celery("r = wait.apply_async((gate,), queue=gate); r.id", gate=fresh)
        place.arrived(fresh)
        theirs = celery(
            "sent = [add.apply_async((n, n), queue=q) for n in range(5)]; [r.id for r in sent]", q=fresh
        )
        ours = app.tasks["jobs.add"].starmap_async([(n, n) for n in range(5, 10)], queue=fresh)
        eventually(lambda: place.messages.hlen("unacked") >= 9, "Celery's worker has fetched ahead")
        worker.popen.send_signal(signal.SIGTERM)
        worker.wait_for("Warm shutdown")
        place.open(fresh)
        worker.popen.wait(20)
    with start_umbel_worker(place, fresh):
        values = app.results([blocker, *theirs, *(r.id for r in ours)]).get(timeout=20)
    assert values == ["passed", *(n + n for n in range(10))]


def test_what_an_umbel_worker_gives_back_is_run_by_celery(
    celery: CeleryClient, app: Umbel, place: Place, fresh: str
) -> None:
    """A cold shutdown hands back what runs, and the last Umbel worker leaves nothing where Celery cannot see it."""
    with start_umbel_worker(place, fresh) as worker:
        interrupted = celery("r = wait.apply_async((gate,), queue=gate); r.id", gate=fresh)
        place.arrived(fresh)
        mixed = [
            app.tasks["jobs.add"].apply_async((n, n), queue=fresh, priority=priority)
            for n, priority in enumerate((50, 0, -10, -100, 100))
        ]
        assert worker.stop(signal.SIGQUIT) == 0
    with start_celery_worker(place, fresh):
        place.open(fresh)
        assert app.results(mixed).get(timeout=20) == [0, 2, 4, 6, 8]
        assert celery("AsyncResult(i).get(timeout=20)", i=interrupted) == "passed"


@pytest.mark.usefixtures("umbel_worker", "celery_worker")
def test_a_workflow_of_celery_over_both(celery: CeleryClient) -> None:
    """A group and a chain run by whoever is free."""
    assert celery(
        """
        there = {"queue": "both"}
        chains = group(chain(add.s(n, n).set(**there), mul.s(10).set(**there)) for n in range(20))()
        chains.get(timeout=20)
        """
    ) == [20 * n for n in range(20)]


def test_a_queue_name_of_each_kind(celery: CeleryClient, app: Umbel, place: Place, fresh: str) -> None:
    """Names with dots, colons and braces are ordinary names."""
    name = f"{fresh}.mail:{{high}} ü"
    with start_umbel_worker(place, name):
        assert celery("side.apply_async(queue=name).get(timeout=10)", name=name) == "umbel"
    with start_celery_worker(place, name):
        assert app.tasks["jobs.side"].apply_async(queue=name).get(timeout=10) == "celery"


def test_stopped_and_started_again(
    celery: CeleryClient, app: Umbel, place: Place, fresh: str, umbel_worker: Process
) -> None:
    """Calls that are due later are moved to the store by an Umbel worker; if a Celery worker is what remains, an
    Umbel worker has to come back for them."""
    with start_umbel_worker(place, fresh):
        result = app.tasks["jobs.side"].apply_async(queue=fresh, countdown=0.5)
        eventually(lambda: place.messages.zcard(f"umbel:{{{fresh}}}:due") == 1, "the store keeps it")
    with start_celery_worker(place, fresh), start_umbel_worker(place, fresh):
        assert result.get(timeout=10) in ("celery", "umbel")
