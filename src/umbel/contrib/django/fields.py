"""Kinds of fields that the tables of the database broker have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.dateparse import parse_datetime

__all__ = ["InstantField"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


if TYPE_CHECKING:
    _Field = models.Field[Any, Any]
else:
    _Field = models.Field  # subscripted for type checkers only


class InstantField(_Field):
    """A point in time: milliseconds since 1970 in the database, an aware ``datetime`` in Python.

    A number does not change its meaning with ``USE_TZ`` and ``TIME_ZONE``, and every database compares it alike.
    """

    description = "Point in time"

    def get_internal_type(self) -> str:
        return "BigIntegerField"

    def from_db_value(self, value: int | None, expression: object, connection: object) -> datetime | None:
        return None if value is None else _EPOCH + value * _MILLISECOND

    def to_python(self, value: Any) -> datetime | None:
        if value is None or isinstance(value, datetime):
            return value
        if isinstance(value, int):
            return _EPOCH + value * _MILLISECOND
        read = parse_datetime(str(value))
        if read is None:
            raise ValidationError(
                f"{value!r} is not a point in time; expected one such as 2026-01-31T12:00:00Z."
            )
        return read

    def get_prep_value(self, value: Any) -> int | None:
        value = super().get_prep_value(value)
        if isinstance(value, datetime):
            return (value.astimezone(UTC) - _EPOCH) // _MILLISECOND
        return None if value is None else int(value)

    def value_to_string(self, obj: models.Model) -> str:
        value = self.value_from_object(obj)
        return "" if value is None else value.isoformat()
