"""``umbel dead`` and ``umbel parked``: what lies aside, why, and how it comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import click

from umbel import Umbel
from umbel.cli import exits
from umbel.cli.base import Globals, UmbelGroup
from umbel.cli.editing import Draft, as_text, draft_of, from_text, rewritten
from umbel.cli.find_app import import_tasks
from umbel.cli.listing import list_messages
from umbel.cli.messages import message_as_json, print_message, print_messages
from umbel.cli.options import force_option, json_array, json_object, json_option, limit_option, queues_option
from umbel.cli.output import emit_json, plural
from umbel.cli.session import Session, connected
from umbel.core.envelope import Envelope
from umbel.errors import CallError
from umbel.ports import Shelved

__all__ = ["dead", "parked"]

Aside = Literal["dead", "parked"]
_ALL = 1_000_000
"""How many messages of a shelf are looked through for an id."""


class Choice(NamedTuple):
    """Which messages a command is about."""

    ids: tuple[str, ...]
    everything: bool
    task: str | None
    queues: tuple[str, ...]

    def of(self, session: Session, shelf: Aside) -> list[Shelved]:
        """Those messages. Ends the command with 3 when an id matches none, or several calls."""
        if not self.ids and not self.everything:
            raise click.UsageError(
                f"Name messages by their ids (umbel {shelf} list shows them), or say --all."
            )
        found = session.run(session.broker.browse(shelf, self.queues, limit=_ALL))
        if self.task:
            found = [message for message in found if message.task == self.task]
        if not self.ids:
            return list(found)
        chosen: dict[str, Shelved] = {}
        for wanted in self.ids:
            matching = _matching(found, wanted)
            if not matching:
                exits.fail(f"No {_WORD[shelf]} has the id {wanted!r}. See: umbel {shelf} list", exits.ABSENT)
            chosen |= {message.key: message for message in matching}
        return list(chosen.values())


_WORD = {"dead": "dead letter", "parked": "parked message"}


def _matching(found: Sequence[Shelved], wanted: str) -> list[Shelved]:
    """By task id or key; else by the beginning of a task id, when it is the beginning of one only."""
    exact = [message for message in found if wanted in (message.task_id, message.key)]
    if exact:
        return exact
    starting = [message for message in found if message.task_id.startswith(wanted)]
    if len({message.task_id for message in starting}) > 1:
        exits.fail(f"Several ids begin with {wanted!r}. Give more of it.", exits.ABSENT)
    return starting


def _choosing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that make a Choice."""
    for decorate in (
        queues_option,
        click.option("--task", metavar="NAME", help="With --all: only messages of this task."),
        click.option("--all", "everything", is_flag=True, help="All of them (of --task, of -Q)."),
        click.argument("ids", nargs=-1, metavar="[ID]..."),
    ):
        function = decorate(function)
    return function


def _check_arguments(state: Globals, app: Umbel, call: Envelope) -> None:
    """End the command when the app of ``-A`` has the task, and the task could not be called so."""
    if not state.app:
        return
    import_tasks(app)
    task = app.tasks.get(call.task)
    if task is not None:
        try:
            app.client.prepare(call.task, call.args, call.kwargs, None, task)
        except TypeError as exc:
            exits.fail(f"{str(exc).removesuffix(' Nothing was sent.')} Nothing was changed.", exits.USAGE)


# -------------------------------------------------------------------------------------------- what they do


def show(state: Globals, shelf: Aside, choice: Choice, *, as_json: bool) -> None:
    """Print everything about some messages."""
    with connected(state) as session:
        messages = choice.of(session, shelf)
    if as_json:
        emit_json([message_as_json(message) for message in messages])
        return
    for index, message in enumerate(messages):
        if index:
            click.echo()
        print_message(message)


def requeue(state: Globals, shelf: Aside, choice: Choice) -> None:
    """Put messages back into their queues."""
    with connected(state) as session:
        messages = choice.of(session, shelf)
        count = session.run(session.broker.requeue(shelf, [message.key for message in messages]))
    queues = sorted({message.queue for message in messages})
    click.echo(
        f"Put {plural(count, 'message')} back into {', '.join(queues)}." if queues else "Nothing to put back."
    )


def delete(state: Globals, shelf: Aside, choice: Choice, *, force: bool) -> None:
    """Delete messages for good."""
    with connected(state) as session:
        messages = choice.of(session, shelf)
        if messages and not force:
            if choice.everything:
                print_messages(shelf, messages[:10])
            click.confirm(f"Delete {plural(len(messages), 'message')} for good?", abort=True, err=True)
        count = session.run(session.broker.discard(shelf, [message.key for message in messages]))
    click.echo(f"Deleted {plural(count, 'message')}.")


class Changes(NamedTuple):
    """What ``dead edit`` was given on the command line."""

    args: list[Any] | None
    kwargs: dict[str, Any] | None

    def draft(self, before: Draft) -> Draft | None:
        """The edited draft: from the options, else from the editor; None when nothing was changed there."""
        if self.args is not None or self.kwargs is not None:
            draft = before
            if self.args is not None:
                draft = draft._replace(args=self.args)
            if self.kwargs is not None:
                draft = draft._replace(kwargs=self.kwargs)
            return draft
        text = as_text(before)
        while True:
            edited = click.edit(text, extension=".json")
            if edited is None or edited == text:
                return None
            try:
                return from_text(edited)
            except CallError as exc:
                click.echo(str(exc), err=True)
                click.confirm("Edit again?", default=True, abort=True, err=True)
                text = edited


def edit(state: Globals, task_id: str, changes: Changes, *, replay: bool) -> None:
    """Change a dead letter."""
    with connected(state) as session:
        (message, *others) = Choice((task_id,), False, None, ()).of(session, "dead")
        if others:
            keys = ", ".join(m.key for m in (message, *others))
            exits.fail(
                f"Several dead letters have the id {task_id!r}. Name one by its key: {keys}", exits.USAGE
            )
        if message.frame is None:
            exits.fail(f"{task_id} is not a readable message, so it cannot be edited.", exits.USAGE)
        draft = changes.draft(draft_of(message.frame))
        if draft is None:
            click.echo("Nothing was changed.")
            return
        frame, call = rewritten(message.frame, draft)
        _check_arguments(state, session.app, call)
        if not session.run(session.broker.rewrite(message.key, frame)):
            exits.fail(
                f"{task_id} is not among the dead letters any more. Nothing was changed.", exits.ABSENT
            )
        if replay:
            session.run(session.broker.requeue("dead", [message.key]))
    click.echo(f"Changed {call.id}" + (f" and put it back into {message.queue}." if replay else "."))


# ------------------------------------------------------------------------------------------------ commands


@click.group(cls=UmbelGroup)
def dead() -> None:
    """Inspect, repair and replay dead letters.

    \b
      umbel dead list
      umbel dead show 0fae07b5
      umbel dead edit 0fae07b5 --args '[1, 2]' --requeue
      umbel dead requeue --all --task shop.pay

    ID is a task id, or the beginning of one.
    """


@click.group(cls=UmbelGroup)
def parked() -> None:
    """Inspect and replay messages that no worker knew.

    They return by themselves when a worker starts that knows their task.
    """


def _add_commands(group: click.Group, shelf: Aside) -> None:
    word = _WORD[shelf]

    @group.command(name="list", help=f"List {word}s.")
    @queues_option
    @limit_option
    @json_option
    @click.pass_obj
    def list_command(state: Globals, queues: tuple[str, ...], limit: int, as_json: bool) -> None:
        list_messages(state, shelf, queues, limit=limit, as_json=as_json)

    @group.command(name="show", help=f"Show everything about {word}s.")
    @_choosing
    @json_option
    @click.pass_obj
    def show_command(state: Globals, /, as_json: bool, **choice: Any) -> None:
        show(state, shelf, Choice(**choice), as_json=as_json)

    @group.command(name="requeue", help=f"Put {word}s back into their queues, with a clean count.")
    @_choosing
    @click.pass_obj
    def requeue_command(state: Globals, /, **choice: Any) -> None:
        requeue(state, shelf, Choice(**choice))

    @group.command(name="delete", help=f"Delete {word}s for good.")
    @_choosing
    @force_option
    @click.pass_obj
    def delete_command(state: Globals, /, force: bool, **choice: Any) -> None:
        delete(state, shelf, Choice(**choice), force=force)


_add_commands(dead, "dead")
_add_commands(parked, "parked")


@dead.command(name="edit")
@click.argument("task_id", metavar="ID")
@click.option("--args", type=json_array, metavar="JSON", help="New positional arguments, a JSON array.")
@click.option("--kwargs", type=json_object, metavar="JSON", help="New keyword arguments, a JSON object.")
@click.option("--requeue", "replay", is_flag=True, help="Put it back into its queue afterwards.")
@click.pass_obj
def edit_command(
    state: Globals, task_id: str, args: list[Any] | None, kwargs: dict[str, Any] | None, replay: bool
) -> None:
    """Change the arguments or headers of a dead letter.

    Opens $EDITOR, unless --args or --kwargs say what to change. The result is checked before it is stored.
    """
    edit(state, task_id, Changes(args, kwargs), replay=replay)
