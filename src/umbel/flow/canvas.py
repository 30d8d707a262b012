"""Workflows as values: calls after one another, at once, and joined.

The classes refer to one another: ``|`` makes any of them out of any other. What becomes of a workflow when it is sent is in
``umbel.flow.launch``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Self

from umbel.errors import CallError
from umbel.flow.signature import Item, Sender, Signature, as_list, maybe_signature
from umbel.flow.stamping import StampingVisitor, merged_stamps

ON_FAILURE = "umbel_on_failure"
"""Option of a chord, and of its body on the wire: what becomes of it when a call of the header fails."""
__all__ = [
    "ON_FAILURE",
    "as_group",
    "chain",
    "chord",
    "ends_in_group",
    "group",
    "join_steps",
    "leaves",
    "members_of",
]


@Signature.register_type("chain")
class chain(Signature):
    """Calls after one another; each gets the result of the one before: ``chain(add.s(1, 2), add.s(4))`` or ``a | b``.

    One argument may be an iterable of them. Sending it returns the result of the last; ``result.parent`` is that of the one
    before.
    """

    tasks = Item("kwargs", "tasks")

    def __init__(self, *tasks: Any, app: Sender | None = None, **options: Any) -> None:
        members = _members(tasks, app)
        super().__init__(
            "celery.chain", kwargs={"tasks": members}, subtask_type="chain", app=app, options=options
        )

    def _revive(self) -> None:
        self.tasks = [maybe_signature(task, self._app) for task in self.tasks or ()]

    def _copy_members(self) -> None:
        self.kwargs["tasks"] = [_cloned(task, self._app) for task in self.tasks or ()]

    def _all_members(self) -> Iterator[Signature]:
        for task in self.tasks or ():
            yield task
            yield from task._all_members()

    def unchain_tasks(self) -> list[Signature]:
        """Copies of its steps, with its own callbacks on the last and its own errbacks on each of them."""
        steps = [task.clone() for task in self.tasks]
        for callback in as_list(self.options.get("link")) if steps else ():
            steps[-1].link(callback)
        for errback in as_list(self.options.get("link_error")):
            for step in steps:
                step.link_error(errback)
        return steps

    def stamp(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any
    ) -> None:
        """Give its steps stamps."""
        more = visitor.on_chain_start(self, **headers) if visitor is not None else None
        headers = merged_stamps(headers, more, append=append_stamps)
        self.stamp_links(visitor, append_stamps, **headers)
        for task in self.tasks:
            task.stamp(visitor, append_stamps, **headers)
        if visitor is not None:
            visitor.on_chain_end(self, **headers)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send it, with `args` for the first call."""
        return self.apply_async(args, kwargs) if self.tasks else None

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks)) if self.tasks else "chain()"


@Signature.register_type("group")
class group(Signature):
    """Calls at once: ``group(add.s(1, 2), add.s(3, 4))``. Sending it returns a GroupResult.

    One argument may be an iterable of them; a generator is used up here.
    """

    tasks = Item("kwargs", "tasks")

    def __init__(self, *tasks: Any, app: Sender | None = None, **options: Any) -> None:
        if len(tasks) == 1 and isinstance(tasks[0], group):
            tasks = (tasks[0].tasks,)
        members = _members(tasks, app)
        super().__init__(
            "celery.group", kwargs={"tasks": members}, subtask_type="group", app=app, options=options
        )

    _revive = chain._revive
    _copy_members = chain._copy_members
    _all_members = chain._all_members

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Send it, with `args` for each call."""
        return self.apply_async(args, **options)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Let the calls begin one after another: the first in `start` seconds, each of the others `step` later, until `stop`."""
        due = start
        for task in self.tasks:
            task.set(countdown=due)
            due += step
            if stop is not None and due >= stop:
                due = start
        return self

    def link(self, callback: Any) -> Any:
        """Call `callback`, without arguments, when the *first* of its calls has succeeded, as Celery does. Mostly a chord is meant."""
        return self.tasks[0].link(maybe_signature(callback).clone().set(immutable=True))

    def link_error(self, errback: Any) -> tuple[Any, ...]:
        """Call `errback` whenever one of its calls has failed."""
        errback = maybe_signature(errback)
        return tuple(task.link_error(errback.clone()) for task in self.tasks)

    def stamp(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any
    ) -> None:
        """Give its calls stamps."""
        more = visitor.on_group_start(self, **headers) if visitor is not None else None
        headers = merged_stamps(headers, more, append=append_stamps)
        self.stamp_links(visitor, append_stamps, **headers)
        for task in self.tasks:
            task.stamp(visitor, append_stamps, **headers)
        if visitor is not None:
            visitor.on_group_end(self, **headers)

    def set_immutable(self, immutable: bool) -> None:
        """Whether its calls refuse the arguments of others."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def __repr__(self) -> str:
        return f"group({', '.join(map(repr, self.tasks))})"


@Signature.register_type("chord")
class chord(Signature):
    """Calls at once, and then another one with the list of their results: ``chord([add.s(1, 2), add.s(3, 4)], total.s())``.

    ``group(...) | total.s()`` makes one too. Sending it returns the result of the body; its ``parent`` is the GroupResult of
    the header. When a call of the header fails the body is not called: its result is a ChordError, and its errbacks hear of it.
    With ``on_failure="collect"``, which Celery's workers do not know, it is called all the same, and finds
    ``{"exc_type", "exc_message", "exc_module"}`` in place of the values that are missing.
    """

    header = Item("kwargs", "header")
    """A group."""
    body = Item("kwargs", "body")

    @property
    def tasks(self) -> list[Signature]:
        """The calls of the header."""
        calls: list[Signature] = self.header.tasks
        return calls

    @tasks.setter
    def tasks(self, calls: Iterable[Any]) -> None:
        self.header = as_group(calls, self._app)

    def __init__(
        self,
        header: Any,
        body: Any = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Sender | None = None,
        on_failure: Literal["fail", "collect"] = "fail",
        **options: Any,
    ) -> None:
        if on_failure not in ("fail", "collect"):
            raise CallError(f"on_failure must be 'fail' or 'collect', not {on_failure!r}.")
        if on_failure != "fail":
            options[ON_FAILURE] = on_failure
        header = header if isinstance(header, Signature) else as_group(header, app)
        inner = {"kwargs": dict(kwargs or {}), "header": header, "body": body and maybe_signature(body, app)}
        super().__init__("celery.chord", args, inner, options, subtask_type="chord", app=app)

    def _revive(self) -> None:
        self.header = as_group(self.header or (), self._app)
        self.body = self.body and maybe_signature(self.body, self._app)

    def _copy_members(self) -> None:
        self.kwargs["header"] = _cloned(self.header, self._app)
        self.kwargs["body"] = self.body and _cloned(self.body, self._app)

    def _all_members(self) -> Iterator[Signature]:
        for member in (self.header, self.body):
            if member is not None:
                yield member
                yield from member._all_members()

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with `body` for its body."""
        whole = self if body is None else self.clone()
        if body is not None:
            whole.body = maybe_signature(body, self._app)
        return whole.apply_async(**options)

    def link(self, callback: Any) -> Any:
        """Call `callback` with the result of the body."""
        self.body.link(callback)
        return callback

    def link_error(self, errback: Any) -> Any:
        """Call `errback` when a call of the header or the body has failed: once, as an errback of the body."""
        self.body.link_error(errback)
        return errback

    def stamp(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any
    ) -> None:
        """Give the calls of its header stamps, and its body those that `visitor` wants: without a visitor it gets none."""
        more = visitor.on_chord_header_start(self, **headers) if visitor is not None else None
        headers = merged_stamps(headers, more, append=append_stamps)
        self.stamp_links(visitor, append_stamps, **headers)
        for task in self.tasks:
            task.stamp(visitor, append_stamps, **headers)
        if visitor is not None:
            visitor.on_chord_header_end(self, **headers)
            if self.body is not None:
                stamps = merged_stamps(headers, visitor.on_chord_body(self, **headers), append=append_stamps)
                self.body.stamp(visitor, append_stamps, **stamps)

    def set_immutable(self, immutable: bool) -> None:
        """Whether the calls of the header refuse the arguments of others."""
        self.header.set_immutable(immutable)

    def __length_hint__(self) -> int:
        return leaves(self.header)

    def __repr__(self) -> str:
        return f"chord({self.header!r}, {self.body!r})"


# ----------------------------------------------------------------------------------------------- composing


def join_steps(steps: Iterable[Signature]) -> list[Signature]:
    """The steps of a chain in their normal form: no chains or empty groups among them, and a group only at the end.

    What follows a group joins it, and so becomes the body of a chord; a group of one call is that call. What follows a chord
    whose body is a group joins that group. The signatures given are used, not copied.

    >>> a, b, c = (Signature(name) for name in "abc")
    >>> join_steps([chain(a, b), group(), group(a, b), c])
    [a(), b(), chord(group(a(), b()), c())]
    """
    joined: list[Signature] = []
    empty: Signature | None = None
    for step in _flattened(steps):
        if isinstance(step, group) and not step.tasks:
            empty = step
        elif joined and isinstance(joined[-1], group):
            joined[-1] = chord(joined[-1], step, app=step._app)
        elif joined and isinstance(joined[-1], chord) and ends_in_group(joined[-1].body):
            joined[-1] = _continued(joined[-1], step)
        else:
            joined.append(step)
    return joined or ([empty] if empty is not None else [])


def pipe(left: Signature, right: Signature) -> Signature:
    """``left | right``: what follows a chord is put after its body."""
    steps: list[Signature] = []
    for step in join_steps([*left.unchain_tasks(), *right.unchain_tasks()]):
        if steps and isinstance(steps[-1], chord) and not isinstance(step, chord):
            steps[-1] = _with_body(steps[-1], pipe(steps[-1].body, step))
        else:
            steps.append(step)
    if len(steps) == 1:
        return steps[0]
    kind = type(left) if isinstance(left, chain) else chain
    return kind(*steps, app=left._app or right._app)


Signature.pipe = staticmethod(pipe)


def _flattened(steps: Iterable[Signature]) -> Iterator[Signature]:
    for step in steps:
        if isinstance(step, chain):
            yield from _flattened(step.unchain_tasks())
        elif isinstance(step, group) and len(step.tasks) == 1:
            yield from _flattened([_inheriting(step.tasks[0], step)])
        elif isinstance(step, chord) and isinstance(step.body, chain):
            # The rest of the body follows the chord: within it, every call of the header would carry a copy.
            first, *rest = _flattened([step.body])
            yield _with_body(step, first)
            yield from rest
        else:
            yield step


def _inheriting(member: Signature, owner: Signature) -> Signature:
    """The only member of a group, with the options of the group that are not its own."""
    more = {k: v for k, v in owner.options.items() if k not in ("task_id", "root_id", "parent_id")}
    return member.clone(**{k: v for k, v in more.items() if k not in member.options})


def _with_body(whole: chord, body: Signature) -> chord:
    other = whole.clone()
    other.body = body
    return other


def ends_in_group(body: Signature | None) -> bool:
    """Whether what follows it would join a group."""
    return isinstance(body, group) or (isinstance(body, chord) and ends_in_group(body.body))


def _continued(whole: chord, step: Signature) -> chord:
    if isinstance(whole.body, group):
        return _with_body(whole, chord(whole.body, step, app=step._app))
    return _with_body(whole, _continued(whole.body, step))


def members_of(whole: group) -> list[Signature]:
    """The calls of a group: those of groups within it are its own, and empty chains are none."""
    members: list[Signature] = []
    for member in whole.tasks:
        if isinstance(member, group):
            members += members_of(member)
        elif not isinstance(member, chain) or member.tasks:
            members.append(member)
    return members


def leaves(signature: Signature) -> int:
    """For how many endings a chord waits that has `signature` in its header."""
    if isinstance(signature, group):
        return sum(map(leaves, signature.tasks))
    if isinstance(signature, chain):
        steps = join_steps([signature])
        return leaves(steps[-1]) if steps else 0
    if isinstance(signature, chord):
        return leaves(signature.body) if signature.body else 0
    return 1


# ------------------------------------------------------------------------------------------------- helpers


def as_group(header: Any, app: Sender | None) -> group:
    """What ``chord`` takes for its header as a group."""
    header = maybe_signature(header, app) if isinstance(header, Mapping) else header
    if isinstance(header, group):
        return header
    return group(header if not isinstance(header, Signature) else [header], app=app)


def _members(tasks: tuple[Any, ...], app: Sender | None) -> list[Signature]:
    given = (
        tasks[0] if len(tasks) == 1 and not isinstance(tasks[0], Mapping) and _is_many(tasks[0]) else tasks
    )
    return [maybe_signature(task, app) for task in given]


def _is_many(thing: Any) -> bool:
    return isinstance(thing, Iterable) and not hasattr(thing, "s")


def _cloned(member: Any, app: Sender | None) -> Any:
    return maybe_signature(member, app, clone=True)
