"""How a worker ends: warm, cold, and what becomes of the work it has."""

from __future__ import annotations

import signal

import pytest

from worker.harness import Site, eventually

WAIT = 20.0
POOLS = ("prefork", "threads", "asyncio", "solo")


def gated_for(pool: str) -> str:
    return "gated_counting_async" if pool == "asyncio" else "gated_counting"


def start_two(site: Site, pool: str) -> list[str]:
    """Let one (solo) or two tasks begin and twenty wait behind them; returns the names of the gates."""
    names = ["a"] if pool == "solo" else ["a", "b"]
    site.calls(gated_for(pool), [(name,) for name in names])
    for name in names:
        site.wait_for_note("begun", name)
    site.calls("mark", [(n,) for n in range(20)])
    return names


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_a_warm_shutdown_lets_running_tasks_finish_and_hands_back_the_rest(
    site: Site, pool: str, signum: int
) -> None:
    with site.worker(pool=pool) as worker:
        names = start_two(site, pool)
        worker.signal(signum)
        worker.wait_for(f"waiting for {len(names)} running task")
        eventually(lambda: len(site.shelf("waiting")) == 20, "the rest in its queue")
        for name in names:
            site.open_gate(name)
        assert worker.wait() == 0
        assert worker.left_behind() == []
    assert site.shelf("held") == []
    assert {message.deliveries for message in site.shelf("waiting")} == {0}
    # Their order is the one in which they came.
    with site.worker(pool="solo") as worker:
        site.wait_for_note("ran", 19)
        assert worker.stop() == 0
    assert [line for line in site.notes() if line.startswith("ran")] == [f"ran {n}" for n in range(20)]
    site.assert_nothing_left()


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("how", ["quit", "twice"])
def test_a_cold_shutdown_hands_back_what_runs_uncounted(site: Site, pool: str, how: str) -> None:
    with site.worker(pool=pool) as worker:
        names = start_two(site, pool)
        if how == "quit":
            worker.signal(signal.SIGQUIT)
        else:
            worker.signal(signal.SIGTERM)
            worker.wait_for("waiting for")
            worker.signal(signal.SIGINT)
        code = worker.wait()
        # In solo there is nothing to be killed but the worker itself.
        assert code == (-signal.SIGKILL if pool == "solo" else 0)
        eventually(lambda: worker.left_behind() == [], "the end of all processes")
    assert site.shelf("held") == []
    with site.worker() as worker:
        for name in names:
            site.open_gate(name)
        for n in range(20):  # with two children the last to come is not always the last to run
            site.wait_for_note("ran", n)
        for name in (
            names
        ):  # a child that is slow to start begins its call after the other has run all of the short ones
            site.wait_for_note("begun", name, count=2)
        assert worker.stop() == 0
    # Run again from the start, and not counted as a delivery.
    for name in names:
        assert site.notes().count(f"begun {name}") == 2
        assert site.notes().count(f"delivered {name} 1") == 2
    site.assert_nothing_left()


def test_the_grace_period_ends_a_warm_shutdown(site: Site) -> None:
    with site.worker(settings={"worker_shutdown_timeout": 0.2}) as worker:
        result = site.call("gated_counting", "a")
        site.wait_for_note("begun", "a")
        assert worker.stop() == 0
        assert "Interrupting 1 running task" in worker.log
    with site.worker():
        site.open_gate("a")
        assert result.get(timeout=WAIT) == 1


def test_a_signal_to_the_whole_group_lets_running_tasks_finish(site: Site) -> None:
    """Ctrl-C in a terminal reaches every process at once."""
    with site.worker() as worker:
        result = site.call("gated", "a", "kept")
        site.wait_for_note("begun", "a")
        worker.signal_group(signal.SIGINT)
        worker.wait_for("waiting for 1 running task")
        site.open_gate("a")
        assert worker.wait() == 0
    assert result.get(timeout=WAIT) == "kept"


def test_an_early_acknowledged_call_that_has_not_begun_is_sent_again(site: Site) -> None:
    with site.worker(concurrency=1) as worker:
        first, second = (site.call("gated_early", name) for name in ("a", "b"))
        site.wait_for_note("begun", "a")
        worker.signal(signal.SIGTERM)
        worker.wait_for("waiting for 1 running task")
        site.open_gate("a")
        assert worker.wait() == 0
    first.get(timeout=WAIT)
    with site.worker():
        site.open_gate("b")
        second.get(timeout=WAIT)
    assert site.notes().count("begun b") == 1


def test_an_idle_worker_leaves_at_once_and_says_goodbye(site: Site) -> None:
    with site.worker() as worker:
        eventually(
            lambda: [node.pid for node in site.ask(lambda broker: broker.nodes())] == [worker.node_pid]
        )
        assert worker.stop() == 0
        assert worker.left_behind() == []
    assert site.ask(lambda broker: broker.nodes()) == []


def test_a_worker_that_is_stopped_before_it_can_connect_ends(site: Site) -> None:
    lost = Site(site.directory / "lost", "redis://localhost:1/0")
    with lost.worker(ready=False) as worker:
        worker.wait_for("Cannot reach the broker")
        assert worker.stop() == 0
        assert " ready." not in worker.log
    lost.close()


def test_hup_starts_the_worker_anew(site: Site) -> None:
    with site.worker() as worker:
        node = worker.node_pid
        result = site.call("gated", "a", "kept")
        site.wait_for_note("begun", "a")
        worker.signal(signal.SIGHUP)
        worker.wait_for("waiting for 1 running task")
        site.open_gate("a")
        worker.wait_for(r" ready\.", count=2)
        assert result.get(timeout=WAIT) == "kept"
        assert site.call("add", 1, 1).get(timeout=WAIT) == 2
        assert worker.node_pid != node
        assert worker.stop() == 0


def test_term_during_a_reload_ends_the_worker(site: Site) -> None:
    with site.worker() as worker:
        site.call("gated", "a")
        site.wait_for_note("begun", "a")
        worker.signal(signal.SIGHUP)
        worker.wait_for("waiting for 1 running task")
        worker.signal(signal.SIGTERM)
        worker.wait_for("instead of starting anew")
        site.open_gate("a")
        assert worker.wait() == 0
        assert worker.log.count(" ready.") == 1
