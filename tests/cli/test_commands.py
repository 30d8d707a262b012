"""The tree of commands: help, global options, misspelt names, and that help loads nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from umbel._version import __version__
from umbel.cli import main
from umbel.cli.base import COMMANDS
from umbel.cli.exits import MEANINGS

from .conftest import Project


def every_command() -> Iterator[tuple[str, click.Command]]:
    def walk(path: str, command: click.Command, ctx: click.Context) -> Iterator[tuple[str, click.Command]]:
        yield path, command
        if isinstance(command, click.Group):
            for name in command.list_commands(ctx):
                sub = command.get_command(ctx, name)
                assert sub is not None
                yield from walk(f"{path} {name}".strip(), sub, click.Context(sub, info_name=name, parent=ctx))

    yield from walk("", main, click.Context(main))


def test_help_lists_every_command_and_the_exit_codes() -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    for name, lazy in COMMANDS.items():
        assert name in shown.output
        assert lazy.help in shown.output
    for code, meaning in MEANINGS.items():
        assert f"{code:<4} {meaning}" in shown.output
    assert "UMBEL_DEBUG" in shown.output


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_in_the_table_is_that_of_the_command(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str(200) == COMMANDS[name].help


def test_every_command_has_help_and_takes_the_global_options() -> None:
    for path, command in every_command():
        shown = CliRunner().invoke(main, [*path.split(), "--help"])
        assert shown.exit_code == 0, path
        assert command.help, path
        assert {"-A", "-b", "-q", "-C", "--workdir"} <= {
            opt for param in command.params for opt in param.opts
        }, path


def test_every_visible_option_has_help() -> None:
    silent = [
        f"{path} {param.opts[0]}"
        for path, command in every_command()
        for param in command.params
        if isinstance(param, click.Option) and not param.hidden and not param.help
    ]
    assert not silent


def test_help_imports_no_app_no_driver_and_no_loop() -> None:
    code = (
        "import sys\n"
        "from umbel.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = {'umbel.app', 'umbel.worker.node', 'apsw', 'redis', 'asyncio', 'msgspec'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, timeout=60)


def test_version(project: Project) -> None:
    assert project.ok("--version").out == f"umbel {__version__}\n"


def test_a_misspelt_command_is_suggested(project: Project) -> None:
    ended = project.run("wroker")
    assert ended.code == 2
    assert "No such command 'wroker'. Did you mean 'worker'?" in ended.err
    assert "Did you mean 'waiting'?" in project.run("list", "wating").err


def test_a_misspelt_option_is_an_error(project: Project) -> None:
    ended = project.run("worker", "--conccurency", "2")
    assert ended.code == 2
    assert "--concurrency" in ended.err


@pytest.mark.parametrize("where", ["before", "after", "environment"])
def test_the_app_is_named_before_or_after_the_command_or_in_the_environment(
    project: Project, where: str
) -> None:
    if where == "before":
        ended = project.run("-A", "tasks", "report")
    elif where == "after":
        ended = project.run("report", "-A", "tasks")
    else:
        ended = project.run("report", env={"UMBEL_APP": "tasks"})
    assert ended.code == 0, ended
    assert "tasks.add" in ended.out


def test_the_app_named_after_the_command_wins(project: Project) -> None:
    assert "tasks.add" in project.ok("-A", "nowhere", "report", "-A", "tasks").out


def test_workdir(project: Project) -> None:
    project.write("inner/inner_tasks.py", "from umbel import Umbel\napp = Umbel('inner')\n")
    assert "inner" in project.ok("--workdir", "inner", "-A", "inner_tasks", "report").out
    ended = project.run("--workdir", "nowhere", "report")
    assert ended.code == 2
    assert "No such file or directory: nowhere" in ended.err


def test_an_app_that_is_not_there_ends_with_2_and_no_traceback(project: Project) -> None:
    ended = project.run("-A", "taks", "status")
    assert ended.code == 2
    assert ended.err.startswith("Error: There is no module 'taks'")
    assert "Traceback" not in ended.err


def test_debug_shows_the_traceback(project: Project) -> None:
    ended = project.run("-A", "taks", "status", env={"UMBEL_DEBUG": "1"})
    assert ended.code == 2
    assert "Traceback" in ended.err
    assert "Error: There is no module 'taks'" in ended.err


@pytest.mark.parametrize("args", [["status"], ["list", "queues"], ["dead", "list"], ["call", "x"]])
def test_a_broker_that_is_down_ends_with_4_and_hides_the_password(project: Project, args: list[str]) -> None:
    # port 1 is tcpmux, which nobody runs
    ended = project.run("-b", "redis://:s3cret@127.0.0.1:1/0", *args)
    assert ended.code == 4, ended
    assert "redis://:***@127.0.0.1:1/0" in ended.err
    assert "s3cret" not in ended.err
    assert "Traceback" not in ended.err


def test_a_broker_of_no_known_kind_ends_with_2(project: Project) -> None:
    ended = project.run("-b", "smtp://x", "status")
    assert ended.code == 2
    assert "Known schemes" in ended.err


def test_a_broker_inside_a_process_cannot_be_looked_at(project: Project) -> None:
    ended = project.run("-b", "memory://", "status")
    assert ended.code == 2
    assert "inside the process" in ended.err


def test_no_colours_without_a_terminal(project: Project) -> None:
    assert "\x1b" not in project.ok("-A", "tasks", "list", "queues").out


def test_the_module_runs_as_the_script(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "umbel", "-h"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert "Usage: python -m umbel [OPTIONS] COMMAND" in shown.stdout
