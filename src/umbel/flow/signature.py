"""One call as a value: the task's name, arguments and options.

The values are Celery's: dicts that may be changed, because the dict is the form in which they travel, and because programs
change them (``sig.link(callback)``, ``sig.options["queue"] = ...``) without looking at what a method returns.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Protocol, Self, TypeVar

from umbel.errors import CallError
from umbel.flow.stamping import StampingVisitor, merged_stamps, stamps_of

__all__ = ["Item", "Sender", "Signature", "as_dicts", "as_list", "maybe_signature"]

S = TypeVar("S", bound="type[Signature]")

_FROZEN_OPTIONS = ("group_id", "stamped_headers")
"""Options that a call, once it has them, keeps: others wait for what they say."""


class Sender(Protocol):
    """Who can make the calls: an app."""

    tasks: Any

    def send_canvas(
        self, canvas: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: dict[str, Any]
    ) -> Any:
        """Send it; returns its result."""

    async def asend_canvas(
        self, canvas: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: dict[str, Any]
    ) -> Any:
        """The same for coroutines."""

    def run_canvas(
        self, canvas: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: dict[str, Any]
    ) -> Any:
        """Run it here and now; returns its result."""

    def freeze_canvas(self, canvas: Signature, ids: Mapping[str, Any]) -> Any:
        """Give every call in it an id; returns its result."""


class Item:
    """An entry of the dict, or of a dict in it, as an attribute."""

    def __init__(self, *path: str) -> None:
        self._path = path

    def __get__(self, signature: Signature | None, owner: type[Signature]) -> Any:
        if signature is None:
            return self
        *outer, name = self._path
        inner: Any = signature
        for key in outer:
            inner = inner.get(key) or {}
        return inner.get(name)

    def __set__(self, signature: Signature, value: Any) -> None:
        *outer, name = self._path
        inner: Any = signature
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[name] = value


class Signature(dict[str, Any]):
    """One call, ready to be made: the task's name, arguments and options.

    >>> welcome = Signature("mail.send", ("hello",), options={"queue": "mail"})
    >>> welcome.clone(("ada",)).args
    ('ada', 'hello')
    >>> welcome.set(countdown=10).options
    {'queue': 'mail', 'countdown': 10}

    `options` are those of ``apply_async``. An `immutable` one takes no arguments of others, such as the result of the task
    that it is linked to. `task` may be a task, its name, or Celery's dict.
    """

    TYPES: ClassVar[dict[str, type[Signature]]] = {}
    """The classes of workflows by their ``subtask_type``."""

    task = Item("task")
    args = Item("args")
    kwargs = Item("kwargs")
    options = Item("options")
    subtask_type = Item("subtask_type")
    immutable = Item("immutable")
    id = Item("options", "task_id")
    root_id = Item("options", "root_id")
    parent_id = Item("options", "parent_id")

    def __init__(
        self,
        task: Any = None,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        immutable: bool = False,
        subtask_type: str | None = None,
        app: Sender | None = None,
        **more: Any,
    ) -> None:
        self._app = app
        if isinstance(task, Mapping):
            super().__init__(_completed(task))
            return
        if not isinstance(task, str):
            self._app = app or getattr(task, "app", None)
        super().__init__(
            task=task if isinstance(task, str) else getattr(task, "name", task),
            args=tuple(args or ()),
            kwargs=dict(kwargs or {}),
            options={**(options or {}), **more},
            subtask_type=subtask_type,
            immutable=immutable,
        )

    # -- Celery's form

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[S], S]:
        """Class decorator: dicts with this ``subtask_type`` (default: the class's name) become objects of the class."""

        def register(kind: S) -> S:
            cls.TYPES[name or kind.__name__] = kind
            return kind

        return register

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """The signature or the workflow that Celery's dict describes. Raises CallError when it is none."""
        if not isinstance(form.get("task"), str):
            raise CallError(f"A signature needs the name of its task; this has none: {dict(form)!r:.200}.")
        kind = form.get("subtask_type")
        made = cls.TYPES.get(kind, Signature) if isinstance(kind, str) else Signature
        return made._from_dict(form, app)

    @classmethod
    def _from_dict(cls, form: Mapping[str, Any], app: Sender | None) -> Signature:
        signature = cls.__new__(cls)
        signature._app = app or getattr(form, "_app", None)
        dict.__init__(signature, _completed(form))
        signature._revive()
        return signature

    def _revive(self) -> None:
        """Make signatures of the dicts within."""

    def to_dict(self) -> dict[str, Any]:
        """Celery's dict, of plain values throughout, lists instead of tuples."""
        plain: dict[str, Any] = _plain(self)
        return plain

    def __reduce__(self) -> tuple[Any, ...]:
        return Signature.from_dict, (self.to_dict(),)

    # -- making others of it

    def clone(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Self:
        """A copy with `args` put before its own, and with `kwargs` and `options` added.

        The arguments are dropped when the signature is immutable. Arguments themselves are not copied.
        """
        twin = type(self).__new__(type(self))
        twin._app = self._app
        more = not self.immutable
        dict.__init__(
            twin,
            {
                **self,
                "args": (*(args or ()), *self.args) if more else tuple(self.args),
                "kwargs": {**self.kwargs, **(kwargs or {})} if more else dict(self.kwargs),
                "options": _merged(_copied(self.options), options),
            },
        )
        twin._copy_members()
        return twin

    partial = clone

    def _copy_members(self) -> None:
        """Part with the members that a clone shares with its original."""

    def replace(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """A copy with other arguments or options instead of its own; None: the same."""
        twin = self.clone()
        for name, value in (("args", args), ("kwargs", kwargs), ("options", options)):
            if value is not None:
                twin[name] = value
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.clone()

    __copy__ = clone

    # -- changing it

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Change these options. Returns the signature itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Whether it refuses the arguments of others."""
        self["immutable"] = immutable

    def link(self, callback: Any) -> Any:
        """Call `callback` with its result when it has succeeded. Returns `callback`."""
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Call `errback` when it has failed. Returns `errback`."""
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Self:
        """``link_error`` that returns the signature itself."""
        self.link_error(errback)
        return self

    def append_to_list_option(self, option: str, value: Any) -> Any:
        """Add `value` to a list among the options, unless it is in there. Returns `value`."""
        values = self.options[option] = as_list(self.options.get(option))
        if value not in values:
            values.append(value)
        return value

    def extend_list_option(self, option: str, values: Any) -> None:
        """Add `values`, one or several, to a list among the options."""
        self.options[option] = [*as_list(self.options.get(option)), *as_list(values)]

    def flatten_links(self) -> list[Signature]:
        """Itself and the callbacks, those of callbacks included."""
        links = [maybe_signature(link, self._app) for link in as_list(self.options.get("link"))]
        return [self, *(linked for link in links for linked in link.flatten_links())]

    # -- stamps

    def stamp(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any
    ) -> Any:
        """Give it stamps, headers of your own: those named here, and those that `visitor` wants for each of its parts.

        A stamp that it has already stays; with `append_stamps` both are kept, in a list. Callbacks and errbacks get them too.
        Returns the signature itself, of a workflow nothing.
        """
        self.stamp_links(visitor, append_stamps, **headers)
        more = visitor.on_signature(self, **headers) if visitor is not None else None
        stamps = merged_stamps(headers, more, append=append_stamps)
        return self.set(**merged_stamps(stamps, stamps_of(self.options), append=append_stamps))

    def stamp_links(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any
    ) -> None:
        """Give its callbacks and errbacks stamps."""
        for option, method in (("link", "on_callback"), ("link_error", "on_errback")):
            if not self.options.get(option):
                continue
            linked = self.options[option] = [
                maybe_signature(link, self._app) for link in as_list(self.options[option])
            ]
            for link in linked:
                more = getattr(visitor, method)(link, **headers) if visitor is not None else None
                link.stamp(visitor, append_stamps, **merged_stamps(headers, more, append=append_stamps))

    # -- putting several together

    def unchain_tasks(self) -> list[Signature]:
        """Copies of the steps that it stands for in a chain."""
        return [self.clone()]

    def __or__(self, other: Any) -> Any:
        """``a | b``: a chain, in which b gets the result of a. A group followed by anything is a chord."""
        return Signature.pipe(self, other) if isinstance(other, Signature) else NotImplemented

    __ior__ = __or__

    pipe: ClassVar[Callable[[Signature, Signature], Signature]]
    """Puts two together: set by ``umbel.flow.canvas``, which knows what can come of it."""

    # -- making the call

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Send it, with `args` put before its own. Returns its result."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """``delay`` with options, those of ``Task.apply_async``."""
        return self.app.send_canvas(self, tuple(args or ()), kwargs or {}, _given(options))

    async def adelay(self, *args: Any, **kwargs: Any) -> Any:
        """``delay`` for coroutines."""
        return await self.aapply_async(args, kwargs)

    async def aapply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """``apply_async`` for coroutines."""
        return await self.app.asend_canvas(self, tuple(args or ()), kwargs or {}, _given(options))

    def apply(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Run it here and now. Returns an EagerResult, of a group a GroupResult of them."""
        return self.app.run_canvas(self, tuple(args or ()), kwargs or {}, _given(options))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task's function in place. A workflow is sent instead."""
        call = self.clone(args, kwargs)
        return self.type(*call.args, **call.kwargs)

    def __invert__(self) -> Any:
        """``~sig``: send it and wait for its value."""
        return self.apply_async().get()

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> Any:
        """Give it the id under which it will be sent, and return its result. Send it only once after that.

        The other arguments are for the parts of a workflow; see ``umbel.flow.launch``.
        """
        ids = {"task_id": _id, "group_id": group_id, "chord": chord, "root_id": root_id}
        return self.app.freeze_canvas(self, {**ids, "parent_id": parent_id, "group_index": group_index})

    _freeze = freeze

    # -- who and what

    @property
    def app(self) -> Sender:
        """The app to which it belongs. Raises CallError when it belongs to none."""
        found = self._app or next((m._app for m in self._all_members() if m._app is not None), None)
        if found is None:
            found = next((app for find in Signature.app_finders if (app := find()) is not None), None)
        if found is None:
            raise CallError(
                f"The signature of {self.task!r} belongs to no app, so it cannot be called. "
                "Make it with app.signature(...) or task.s(...)."
            )
        return found

    app_finders: ClassVar[list[Callable[[], Any]]] = []
    """Find the app of signatures that name none: the current one."""

    def _all_members(self) -> Iterator[Signature]:
        """Signatures within it, however deep."""
        return iter(())

    @property
    def type(self) -> Any:
        """The task itself. Raises NotRegistered when it is not here."""
        return self.app.tasks[self.task]

    @property
    def name(self) -> Any:
        """The name of the task."""
        return self.task

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """How the call would look in Python."""
        positional = [repr(value) for value in (*args, *self.args)]
        named = [f"{name}={value!r}" for name, value in {**self.kwargs, **kwargs}.items()]
        return f"{self.task}({', '.join([*positional, *named])})"

    def __repr__(self) -> str:
        return self.reprcall()


# ------------------------------------------------------------------------------------------------- helpers


def maybe_signature(thing: Any, app: Any = None, clone: bool = False) -> Any:
    """`thing` as a signature: one already, or Celery's dict; None stays None. Raises CallError for anything else.

    `clone`: a copy where it is one already.
    """
    if thing is None:
        return None
    if isinstance(thing, Signature):
        if clone:
            thing = thing.clone()
        if app is not None and thing._app is None:
            thing._app = app
        return thing
    if isinstance(thing, Mapping):
        return Signature.from_dict(thing, app)
    if hasattr(thing, "s") and hasattr(thing, "name"):
        return thing.s()  # a task stands for a call of it
    raise CallError(f"Expected a signature, such as task.s(1), not {type(thing).__name__} {thing!r}.")


def as_list(links: Any) -> list[Any]:
    """What ``link=`` takes, one signature or several, as a list."""
    if links is None:
        return []
    return list(links) if isinstance(links, list | tuple) else [links]


def as_dicts(links: Any) -> list[dict[str, Any]]:
    """What ``link=`` takes, in Celery's form.

    >>> as_dicts(Signature("a"))[0]["task"]
    'a'
    """
    return [link if type(link) is dict else maybe_signature(link).to_dict() for link in as_list(links)]


def _completed(form: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **form,
        "args": tuple(form.get("args") or ()),
        "kwargs": dict(form.get("kwargs") or {}),
        "options": _copied(form.get("options") or {}),
        "subtask_type": form.get("subtask_type"),
        "immutable": bool(form.get("immutable")),
    }


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _merged(options: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    options.update({k: v for k, v in more.items() if k not in _FROZEN_OPTIONS or options.get(k) is None})
    return options


def _copied(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that may be changed without changing these."""
    return {
        name: [*map(copy.copy, value)] if isinstance(value, list | tuple) else copy.copy(value)
        for name, value in options.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Signature):
        return {key: _plain(list(inner) if key == "args" else inner) for key, inner in value.items()}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, tuple):
        return tuple(_plain(inner) for inner in value)
    return value
