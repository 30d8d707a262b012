"""A task that takes its process with it: named, capped, kept with its history, and run again when somebody says so.

Its neighbours, in the same process and in others, come to their end, and it is not counted against them.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from umbel.core.frame import DELIVERIES_HEADER, HISTORY_HEADER
from umbel.errors import TimeLimitExceeded, WorkerLostError
from worker.harness import HERE, Site, eventually

WAIT = 30.0
CAUSES = {
    "segfault": "was killed by SIGSEGV",
    "exit": "exited with code 7",
    "oom": "was killed by SIGKILL, probably for want of memory",
}


@pytest.fixture
def small_memory(site: Site, request: pytest.FixtureRequest) -> Iterator[None]:
    """A control group with little memory, which the task that wants much of it joins: the kernel kills it, not us."""
    for root, limit in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        group = pathlib.Path("/sys/fs/cgroup") / root / f"umbel-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            group.mkdir()
            (group / limit).write_text(str(48 << 20))
            (site.directory / "small-memory").write_text(str(group / "cgroup.procs"))
            break
    yield
    with contextlib.suppress(OSError):
        eventually(lambda: not (group / "cgroup.procs").read_text(), "an empty group")
        group.rmdir()


@pytest.mark.parametrize("how", ["segfault", "exit", "oom"])
def test_poison_is_named_capped_and_kept_until_it_is_replayed(
    site: Site, small_memory: None, how: str
) -> None:
    cause = CAUSES[how]
    if how == "oom" and not (site.directory / "small-memory").exists():
        cause = "was killed by SIGKILL"  # nobody may limit memory here: the task kills itself
    with site.worker(app="outcome_jobs") as worker:
        neighbour = site.call("gated_counting", "a")
        site.wait_for_note("begun", "a")
        poison = site.call("outcome_jobs.is_poison", how)
        with pytest.raises(WorkerLostError, match=cause):
            poison.get(timeout=WAIT)
        assert [line for line in site.notes() if "poison" in line] == [f"poison {n}" for n in (1, 2, 3)]
        (letter,) = site.wait_for_shelf("dead")
        assert letter.frame is not None
        assert cause in letter.reason
        assert letter.frame.headers[DELIVERIES_HEADER] == 2
        assert [cause in entry["what"] for entry in letter.frame.headers[HISTORY_HEADER]] == [True, True]
        site.open_gate("a")
        assert neighbour.get(timeout=WAIT) == 1

        site.open_gate("mended")
        assert "1" in _umbel(site, "dead", "requeue", poison.id)
        eventually(lambda: site.app.AsyncResult(poison.id).state == "SUCCESS", "the replay")
        assert site.app.AsyncResult(poison.id).get(timeout=WAIT) == "cured"
        assert worker.stop() == 0
    site.assert_nothing_left()


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_those_who_share_the_process_of_poison_are_not_blamed(site: Site, pool: str) -> None:
    """At first nobody knows who it was; then suspects are begun one by one."""
    with site.worker(app="outcome_jobs", pool=pool, concurrency=8) as worker:
        task = "gated_counting_async" if pool == "asyncio" else "gated_counting"
        neighbours = site.calls(task, [("a",), ("b",), ("c",)])
        for name in "abc":
            site.wait_for_note("begun", name)
        poison = site.call("outcome_jobs.is_poison", "segfault")
        with pytest.raises(WorkerLostError, match="was killed by SIGSEGV"):
            poison.get(timeout=2 * WAIT)
        (letter,) = site.wait_for_shelf("dead")
        assert letter.task_id == poison.id
        # Twice it was not known whose fault it was.
        assert sum("poison" in line for line in site.notes()) <= 5
        for name in "abc":
            site.open_gate(name)
        assert site.app.results(neighbours).get(timeout=WAIT) == [1, 1, 1]
        worker.wait_for("shared its process with another one, and that was killed by SIGSEGV")
        assert worker.stop() == 0
    assert [message.task_id for message in site.shelf("dead")] == [poison.id]


def test_over_its_hard_limit_it_is_kept_and_replayed(site: Site) -> None:
    with site.worker(app="outcome_jobs", concurrency=2) as worker:
        neighbour = site.call("gated_counting", "a")
        site.wait_for_note("begun", "a")
        poison = site.call("outcome_jobs.is_poison", "sleeps", time_limit=0.5)
        with pytest.raises(TimeLimitExceeded):
            poison.get(timeout=WAIT)
        (letter,) = site.wait_for_shelf("dead")
        assert "hard time limit of 0.5 s" in letter.reason
        site.open_gate("a")
        assert neighbour.get(timeout=WAIT) == 1
        site.open_gate("mended")
        _umbel(site, "dead", "requeue", poison.id)
        eventually(lambda: site.app.AsyncResult(poison.id).state == "SUCCESS", "the replay")
        assert worker.stop() == 0
    site.assert_nothing_left()


def _umbel(site: Site, *arguments: str) -> str:
    """What the real command says."""
    environment = {
        **os.environ,
        "JOBS_DIR": str(site.directory),
        "PYTHONPATH": str(HERE),
        "UMBEL_BROKER_URL": site.broker_url,
        "UMBEL_RESULT_BACKEND": site.result_url,
        **site.environment,
    }
    command = [sys.executable, "-m", "umbel", "-A", "outcome_jobs", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
