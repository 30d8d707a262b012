"""What ``umbel demo`` does, in order: material, worker, calls, results, farewell."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from umbel import AsyncResult, Umbel
from umbel.cli import exits
from umbel.cli.base import Command, Globals
from umbel.cli.demo.material import make_pictures, make_texts
from umbel.cli.find_app import find_app
from umbel.cli.output import duration, emit_table, plural
from umbel.errors import TimeoutError

__all__ = ["demo"]

_PICTURES = 24
_ENOUGH = 50.0
"""Seconds for all of the tasks."""
_FAREWELL = 15.0
"""Seconds for the worker to end after SIGTERM."""


@click.command(cls=Command)
@click.option(
    "--files",
    type=click.IntRange(1, 10_000),
    default=200,
    show_default=True,
    help="Text files to count words in.",
)
@click.option("--keep", is_flag=True, help="Leave the folder there, to look at and to play with.")
@click.pass_obj
def demo(state: Globals, files: int, keep: bool) -> None:
    """Watch a worker do real work, in under a minute.

    In a temporary folder: makes files, starts a worker on the embedded default (a SQLite file), counts words, shrinks
    pictures, lets one task fail and be retried, and shuts the worker down.
    """
    folder = Path(tempfile.mkdtemp(prefix="umbel-demo-"))
    try:
        with contextlib.chdir(folder), _own_settings():
            _play(folder, files)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    _farewell(folder if keep else None)


@contextlib.contextmanager
def _own_settings() -> Iterator[None]:
    """Without the settings of the environment: the demo must not send its tasks to somebody's broker."""
    before = {name: value for name, value in os.environ.items() if name.startswith("UMBEL_")}
    for name in before:
        if name != "UMBEL_DEBUG":
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)


def _play(folder: Path, files: int) -> None:
    click.echo(f"In {folder}:\n")
    source = importlib.resources.files("umbel.cli.demo").joinpath("tasks.py")
    Path("tasks.py").write_text(source.read_text())
    # What makes the folder a project of its own, whatever lies above it.
    Path("pyproject.toml").write_text('[project]\nname = "umbel-demo"\nversion = "0"\n')
    app = find_app("tasks")
    with app:
        texts, pictures = make_texts(folder, files), make_pictures(folder, _PICTURES)
        click.echo(f"  made      {plural(files, 'text file')} and {plural(_PICTURES, 'picture')}")
        with _worker(folder) as worker:
            click.echo("  started   umbel -A tasks worker -c 2")
            began = time.monotonic()
            sent = _send(app, texts, pictures)
            click.echo(
                f"  sent      {plural(len(sent.all()), 'task')} in {duration(time.monotonic() - began)}\n"
            )
            _collect(sent.all(), worker, folder)
            took = time.monotonic() - began
        click.echo()
        _print_results(sent, folder, took)
    click.echo("\nThe worker has shut down cleanly, with exit code 0.")


# -------------------------------------------------------------------------------------------------- worker


@contextlib.contextmanager
def _worker(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process; SIGTERM at the end, and an error when it does not end well."""
    argv = [
        sys.executable,
        "-m",
        "umbel",
        "-q",
        "-A",
        "tasks",
        "worker",
        "-c",
        "2",
        "-l",
        "info",
        "-n",
        "demo@%h",
    ]
    with (folder / "worker.log").open("wb") as log:
        # A session of its own: Ctrl-C is for the demo, which then stops the worker in order.
        worker = subprocess.Popen(
            argv, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield worker
    except BaseException:
        _end(worker)
        raise
    code = _end(worker)
    if code != 0:
        exits.fail(f"The worker ended with exit code {code} instead of 0.\n{_last_words(folder)}")


def _end(worker: subprocess.Popen[bytes]) -> int:
    """Stop it; the exit code, negative when it had to be killed."""
    if worker.poll() is None:
        worker.send_signal(signal.SIGTERM)
    try:
        return worker.wait(_FAREWELL)
    except subprocess.TimeoutExpired:
        worker.kill()
        return worker.wait()


def _last_words(folder: Path) -> str:
    lines = (folder / "worker.log").read_text(errors="replace").splitlines()[-20:]
    return "The end of its log:\n" + "\n".join(f"  {line}" for line in lines)


# --------------------------------------------------------------------------------------------------- tasks


class _Sent(NamedTuple):
    counts: list[AsyncResult[Any]]
    thumbnails: list[AsyncResult[Any]]
    retried: AsyncResult[Any]
    asked: AsyncResult[Any]
    failed: AsyncResult[Any]

    def all(self) -> list[AsyncResult[Any]]:
        return [*self.counts, *self.thumbnails, self.asked, self.failed, self.retried]


def _send(app: Umbel, texts: list[str], pictures: list[str]) -> _Sent:
    tasks = app.tasks
    return _Sent(
        retried=tasks["tasks.fetch_rates"].delay(),
        counts=tasks["tasks.count_words"].map_async(texts),
        thumbnails=tasks["tasks.thumbnail"].map_async(pictures),
        asked=tasks["tasks.ask_many"].delay(100),
        failed=tasks["tasks.divide"].delay(1, 0),
    )


def _collect(results: list[AsyncResult[Any]], worker: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for every result, with a bar."""
    deadline = time.monotonic() + _ENOUGH
    with _progress(len(results)) as done:
        for result in results:
            while not _arrived(result):
                if worker.poll() is not None:
                    exits.fail(f"The worker ended with exit code {worker.returncode}.\n{_last_words(folder)}")
                if time.monotonic() > deadline:
                    exits.fail(f"The tasks have not ended within {_ENOUGH:.0f} s.\n{_last_words(folder)}")
            done()


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, a few lines elsewhere. Yields what is to be called for each step."""
    if sys.stdout.isatty():
        with click.progressbar(length=total, label="  working ", show_pos=True, show_eta=False) as bar:
            yield lambda: bar.update(1)
        return
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if done * 4 // total > (done - 1) * 4 // total:
            click.echo(f"  working   {done} of {total} done")

    yield step


def _arrived(result: AsyncResult[Any]) -> bool:
    try:
        result.get(timeout=1.0, propagate=False)
    except TimeoutError:
        return False
    return True


def _print_results(sent: _Sent, folder: Path, took: float) -> None:
    words: Counter[str] = Counter()
    for result in sent.counts:
        words.update(result.get())
    common = ", ".join(f"{word} {count:,}" for word, count in words.most_common(3))
    names = [result.get() for result in sent.thumbnails]
    before = sum(path.stat().st_size for path in folder.glob("*.raw"))
    after = sum((folder / name).stat().st_size for name in names)
    error = sent.failed.result
    rows = [
        ("count_words", len(sent.counts), f"{words.total():,} words: {common}"),
        ("thumbnail", len(names), f"{before:,} bytes of pixels became {after:,} bytes of PNG"),
        ("ask_many", 1, f"{sent.asked.get()}, all at once (async def)"),
        ("fetch_rates", 1, f"{sent.retried.get()}: retried after 0.5 s and 1 s"),
        ("divide", 1, f"{type(error).__name__}: {error} (on purpose)"),
    ]
    emit_table(["task", "calls", "result"], rows, right=[1])
    click.echo(f"\n{plural(len(sent.all()), 'task')} in {duration(took)}, the start of the worker included.")


def _farewell(kept: Path | None) -> None:
    click.echo("\nNext:")
    if kept is not None:
        click.echo(f"  cd {kept}                      # tasks.py is the whole program")
        click.echo("  umbel -A tasks worker -l info")
        click.echo("  umbel -A tasks call tasks.divide --args '[6, 3]' --wait 10")
        return
    click.echo("  umbel demo --keep                  # keeps the folder; its tasks.py is the whole program")
    click.echo("  umbel --help")
