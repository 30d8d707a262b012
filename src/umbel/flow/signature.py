"""A call that has not been made yet: the task's name, arguments and options, as a value.

Signatures are frozen: ``set``, ``link`` and ``clone`` return another one. On the wire they are Celery's dicts
(``task, args, kwargs, options, subtask_type, immutable``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from umbel.errors import CallError

__all__ = ["Sender", "Signature", "as_dicts"]

_FIELDS = ("task", "args", "kwargs", "options", "subtask_type", "immutable")


class Sender(Protocol):
    """Who can make the call: an app."""

    def send_signature(self, signature: Signature) -> Any:
        """Send it; returns its AsyncResult."""

    async def asend_signature(self, signature: Signature) -> Any:
        """The same for coroutines."""

    def run_signature(self, signature: Signature) -> Any:
        """Run it here and now; returns its EagerResult."""

    def call_signature(self, signature: Signature) -> Any:
        """Call the task's function in place; returns its value."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One call, ready to be made.

    >>> welcome = Signature("mail.send", ("hello",), options={"queue": "mail"})
    >>> welcome.clone(("ada",)).args
    ('ada', 'hello')
    >>> welcome.set(countdown=10).options
    {'queue': 'mail', 'countdown': 10}
    """

    task: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    """Those of ``apply_async``."""
    immutable: bool = False
    """Takes no arguments of others, such as the result of the task that it is linked to."""
    subtask_type: str | None = None
    """The kind of a workflow in Celery's dict form; None for a single call."""
    app: Sender | None = field(default=None, compare=False, repr=False)

    # -- making others of it

    def clone(
        self,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Signature:
        """A copy with `args` put before its own, and with `kwargs` and `options` added.

        The arguments are dropped when the signature is immutable.
        """
        if self.immutable:
            args, kwargs = (), None
        return replace(
            self,
            args=(*args, *self.args),
            kwargs={**self.kwargs, **(kwargs or {})},
            options={**self.options, **options},
        )

    partial = clone

    def set(self, *, immutable: bool | None = None, **options: Any) -> Signature:
        """A copy with these options changed. Use what it returns: the signature itself stays as it is."""
        changed = self.immutable if immutable is None else immutable
        return replace(self, immutable=changed, options={**self.options, **options})

    def link(self, *callbacks: Signature) -> Signature:
        """A copy that calls `callbacks` with its result when it has succeeded."""
        return self._linked("link", callbacks)

    def link_error(self, *errbacks: Signature) -> Signature:
        """A copy that calls `errbacks` when it has failed."""
        return self._linked("link_error", errbacks)

    on_error = link_error

    def _linked(self, option: str, added: Iterable[Signature]) -> Signature:
        links = [*as_list(self.options.get(option)), *added]
        unique = [sig for i, sig in enumerate(links) if sig not in links[:i]]
        return replace(self, options={**self.options, option: unique})

    # -- making the call

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Send it, with `args` put before its own. Returns an AsyncResult."""
        return self._sender().send_signature(self.clone(args, kwargs))

    def apply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """``delay`` with options, those of ``Task.apply_async``."""
        return self._sender().send_signature(self.clone(args or (), kwargs, **options))

    async def adelay(self, *args: Any, **kwargs: Any) -> Any:
        """``delay`` for coroutines."""
        return await self._sender().asend_signature(self.clone(args, kwargs))

    async def aapply_async(
        self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """``apply_async`` for coroutines."""
        return await self._sender().asend_signature(self.clone(args or (), kwargs, **options))

    def apply(self, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run the task here and now. Returns an EagerResult."""
        return self._sender().run_signature(self.clone(args or (), kwargs, **options))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task's function in place."""
        return self._sender().call_signature(self.clone(args, kwargs))

    def _sender(self) -> Sender:
        if self.app is None:
            raise CallError(
                f"The signature of {self.task!r} belongs to no app, so it cannot be called. "
                "Make it with app.signature(...) or task.s(...)."
            )
        return self.app

    # -- Celery's form

    def to_dict(self) -> dict[str, Any]:
        """Celery's dict, of plain values throughout."""
        options = dict(self.options)
        for option in ("link", "link_error"):
            if option in options:
                options[option] = as_dicts(options[option])
        return {
            "task": self.task,
            "args": list(self.args),
            "kwargs": self.kwargs,
            "options": options,
            "subtask_type": self.subtask_type,
            "immutable": self.immutable,
        }

    @classmethod
    def from_dict(cls, form: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """The signature that Celery's dict describes. Raises CallError when it is none."""
        task = form.get("task")
        if not isinstance(task, str):
            raise CallError(f"A signature needs the name of its task; this has none: {form!r}.")
        options = dict(form.get("options") or {})
        for option in ("link", "link_error"):
            if option in options:
                options[option] = [cls.of(link, app) for link in as_list(options[option])]
        return cls(
            task,
            tuple(form.get("args") or ()),
            dict(form.get("kwargs") or {}),
            options,
            bool(form.get("immutable")),
            form.get("subtask_type"),
            app,
        )

    @classmethod
    def of(cls, thing: Any, app: Sender | None = None) -> Signature:
        """`thing` as a signature: one already, or Celery's dict."""
        if isinstance(thing, Signature):
            return thing
        if isinstance(thing, Mapping):
            return cls.from_dict(thing, app)
        raise CallError(f"Expected a signature, such as task.s(1), not {type(thing).__name__} {thing!r}.")

    def keys(self) -> Iterator[str]:
        """The keys of Celery's dict: ``dict(signature)`` is that dict."""
        return iter(_FIELDS)

    def __getitem__(self, key: str) -> Any:
        return self.to_dict()[key]


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
    return [Signature.of(link).to_dict() for link in as_list(links)]
