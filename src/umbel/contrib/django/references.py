"""Rows of the database as arguments of tasks: ``remind.delay(ref(user))``.

A message does not carry the row, but where it lies; the worker reads it right before the task's function is called, so that
the task sees what is true then. In the message it is a plain object, which any other program can read::

    {"__ref__": "auth.user", "pk": 7, "using": "default", "sig": "…"}

``sig`` is made with ``SECRET_KEY``: what came in from outside and was passed on cannot pose as a reference.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, cast

from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.signing import BadSignature, Signer
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model, QuerySet

from umbel import context
from umbel.errors import Ignore, TaskError

__all__ = ["InvalidReference", "ObjectGone", "install", "ref"]

M = TypeVar("M", bound=Model)
IfGone = Literal["fail", "skip", "none"]

_MARK, _CHUNK = "__ref__", 200
_FIELDS = frozenset({_MARK, "pk", "using", "sig"})


class InvalidReference(TaskError, ValueError):
    """An argument poses as a reference and cannot be followed here: its signature, its model or its database is not known."""


class ObjectGone(TaskError, ObjectDoesNotExist):
    """The row that an argument refers to is not in the database. The message names it."""


def ref(obj: M, *, using: str | None = None, if_gone: IfGone = "fail") -> M:
    """`obj` as an argument of a task: the worker reads it anew, and the task's function gets the instance.

    It may stand inside lists and dicts. To type checkers it is what it stands for, so that ``remind.delay(ref(user))`` fits
    ``def remind(user: User)``. `using` is the alias of the database to read it from, by default that which `obj` came from.

    When the row is not there any more, the task fails with ``ObjectGone`` (``if_gone="fail"``), ends without an outcome and
    without its function having been called (``"skip"``), or gets None in its place (``"none"``).

    Raises TypeError for what is no instance of a model, and ValueError for one that has not been saved.
    """
    if not isinstance(obj, Model):
        many = " For several rows: [ref(row) for row in rows]." if isinstance(obj, QuerySet) else ""
        raise TypeError(f"ref() takes an instance of a model, not {type(obj).__name__} {obj!r:.60}.{many}")
    if if_gone not in ("fail", "skip", "none"):
        raise ValueError(f"ref(if_gone={if_gone!r}): it must be 'fail', 'skip' or 'none'.")
    meta = obj._meta
    if obj.pk is None or obj._state.adding:
        raise ValueError(
            f"ref() cannot refer to this {meta.label}: it has not been saved, so that no worker could read it. Save it first."
        )
    target = _Target(meta.label_lower, _plain(obj), using or obj._state.db or DEFAULT_DB_ALIAS, if_gone)
    form = {_MARK: target.label, "pk": target.pk, "using": target.using}
    if if_gone != "fail":
        form["gone"] = if_gone
    form["sig"] = _signer().signature(target.text())
    return cast(M, form)


def install() -> None:
    """Let the tasks of this process get what references stand for."""
    context.state.argument_loader = _loading


class _Target(NamedTuple):
    """What a reference says."""

    label: str
    pk: Any
    using: str
    if_gone: str

    def text(self) -> str:
        """What is signed."""
        return json.dumps(list(self))


def _signer() -> Signer:
    return Signer(salt="umbel.ref")


def _plain(obj: Model) -> Any:
    """The primary key, in what every serializer can write."""
    keys = obj.pk if isinstance(obj.pk, tuple) else (obj.pk,)
    plain = [
        key if isinstance(key, int | str) else field.value_to_string(obj)
        for key, field in zip(keys, _key_fields(type(obj)), strict=True)
    ]
    return plain if isinstance(obj.pk, tuple) else plain[0]


def _key_fields(model: type[Model]) -> Sequence[Any]:
    return getattr(model._meta, "pk_fields", None) or [model._meta.pk]


# ------------------------------------------------------------------------------------------------- loading


_CONTAINERS = frozenset({dict, list, tuple})
"""What a message is made of: in others there are no references. Told by type, for this looks at the arguments of every run."""


def _loading(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Loading | None:
    found: list[dict[str, Any]] = []
    _collect(args, found)
    if kwargs:
        _collect(kwargs.values(), found)
    return _Loading(args, kwargs, {id(form): _target(form) for form in found}) if found else None


def _collect(values: Collection[Any], found: list[dict[str, Any]]) -> None:
    if _CONTAINERS.isdisjoint(map(type, values)):
        return
    for value in values:
        cls = type(value)
        if cls is dict:
            if _MARK in value and value.keys() >= _FIELDS:
                found.append(value)
            else:
                _collect(value.values(), found)
        elif cls in _CONTAINERS:
            _collect(value, found)


def _target(form: dict[str, Any]) -> _Target:
    target = _Target(form[_MARK], form["pk"], form["using"], form.get("gone", "fail"))
    try:
        _signer().unsign(f"{target.text()}:{form['sig']}")
    except (BadSignature, TypeError):
        raise InvalidReference(
            f"An argument poses as a reference to {form[_MARK]!r:.80}, and its signature is wrong. Either it was not made by "
            "ref(), or with another SECRET_KEY than the one here (SECRET_KEY_FALLBACKS keeps old ones valid)."
        ) from None
    return target


class _Loading:
    """See ``umbel.arguments.Loading``. Rows of one model in one database are read together."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], targets: dict[int, _Target]) -> None:
        self._args = args
        self._kwargs = kwargs
        self._targets = targets
        self._rows: dict[tuple[str, str], dict[Any, Model]] = {}

    def load(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for group, query in self._queries():
            self._rows[group].update((row.pk, row) for row in query)
        return self._loaded()

    async def aload(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for group, query in self._queries():
            self._rows[group].update([(row.pk, row) async for row in query])
        return self._loaded()

    def _queries(self) -> Iterator[tuple[tuple[str, str], QuerySet[Model]]]:
        wanted: dict[tuple[str, str], set[Any]] = {}
        for target in self._targets.values():
            wanted.setdefault((target.label, target.using), set()).add(_key(target))
        for (label, using), keys in wanted.items():
            self._rows[label, using] = {}
            if using not in connections:
                raise InvalidReference(
                    f"An argument refers to a {label} in the database {using!r}, which DATABASES does not name here."
                )
            manager = _model(label)._base_manager.using(using)
            ordered = list(keys)
            for start in range(0, len(ordered), _CHUNK):
                yield (label, using), manager.filter(pk__in=ordered[start : start + _CHUNK])

    def _loaded(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args = tuple(self._put(value) for value in self._args)
        return args, {name: self._put(value) for name, value in self._kwargs.items()}

    def _put(self, value: Any) -> Any:
        """`value` with the rows in place of the references; a part that has none in it is left as it is."""
        if isinstance(value, dict):
            target = self._targets.get(id(value))
            if target is not None:
                return self._row(target)
            parts = [self._put(part) for part in value.values()]
            same = all(old is new for old, new in zip(value.values(), parts, strict=True))
            return value if same else dict(zip(value, parts, strict=True))
        if isinstance(value, list | tuple):
            parts = [self._put(part) for part in value]
            same = all(old is new for old, new in zip(value, parts, strict=True))
            return value if same else parts if isinstance(value, list) else tuple(parts)
        return value

    def _row(self, target: _Target) -> Model | None:
        row = self._rows[target.label, target.using].get(_key(target))
        if row is not None or target.if_gone == "none":
            return row
        text = f"The {_model(target.label)._meta.label} with the primary key {target.pk!r} is not in the database {target.using!r}"
        if target.if_gone == "skip":
            raise Ignore(f"{text}.")
        raise ObjectGone(f"{text}: it has been deleted, or was never committed.")


def _model(label: str) -> type[Model]:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError) as exc:
        raise InvalidReference(
            f"An argument refers to a {label}, and there is no such model here: {exc}"
        ) from exc


def _key(target: _Target) -> Any:
    """The primary key as the model has it."""
    fields = _key_fields(_model(target.label))
    parts = target.pk if isinstance(target.pk, list) else [target.pk]
    try:
        keys = tuple(field.to_python(part) for field, part in zip(fields, parts, strict=True))
    except (ValidationError, ValueError) as exc:
        raise InvalidReference(f"{target.pk!r} is no primary key of a {target.label}: {exc}") from exc
    return keys if isinstance(target.pk, list) else keys[0]
