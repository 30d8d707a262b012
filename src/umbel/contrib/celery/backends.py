"""Base classes of Celery's result backends, for those that others have written: django-celery-results, one's own.

A subclass keeps records: ``_store_result``, ``_get_task_meta_for`` and ``_forget``, or as a ``KeyValueStoreBackend`` just ``get``,
``set`` and ``delete``.
"""

from __future__ import annotations

import traceback as tracebacks
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from umbel.codecs import serializers
from umbel.codecs.failures import exception_from_failure, failure_from_exception
from umbel.codecs.results import failure_from_form, form_of_failure
from umbel.context import current_run
from umbel.contrib.celery.backend import Backend
from umbel.core.outcome import EXCEPTION_STATES, Failure
from umbel.groups import result_from_tuple

__all__ = ["BaseBackend", "BaseDictBackend", "DisabledBackend", "KeyValueStoreBackend", "get_current_task"]


def get_current_task() -> Any:
    """The task that runs here; None."""
    run = current_run()
    return None if run is None else run.task


class BaseBackend(Backend):
    """A place for records that a subclass knows."""

    subpolling_interval: float | None = None
    supports_native_join = False
    supports_autoexpire = False
    persistent = True

    def __init__(
        self,
        app: Any,
        serializer: str | None = None,
        max_cached_results: int | None = None,
        accept: Any = None,
        expires: Any = None,
        expires_type: Any = None,
        url: str | None = None,
        **unused: Any,
    ) -> None:
        super().__init__(app)
        self._url = url
        self.serializer = serializer or app.conf.result_serializer
        self.accept = accept or app.conf.result_accept_content or app.conf.accept_content
        self.expires = self.prepare_expires(expires, expires_type)

    @property
    def url(self) -> str:
        """The URL of the settings."""
        return self._url or str(self.app.conf.result_backend)

    # -- values

    def prepare_expires(self, value: Any, type: Any = None) -> Any:
        """`value` in seconds; the setting result_expires, if it is None."""
        value = self.app.conf.result_expires if value is None else value
        if isinstance(value, timedelta):
            value = value.total_seconds()
        return type(value) if value is not None and type else value

    def _encode(self, data: Any) -> tuple[str, str, Any]:
        content_type, encoding, payload = serializers.encode(data, self.serializer)
        return content_type, encoding, payload.decode() if encoding == "utf-8" else payload

    def encode(self, data: Any) -> Any:
        """`data` as it is stored."""
        return self._encode(data)[2]

    def decode(self, payload: Any) -> Any:
        """What was stored."""
        if payload is None:
            return None
        data = payload.encode() if isinstance(payload, str) else bytes(payload)
        return serializers.decode(
            data, serializers.check_serializer(self.serializer).content_type, self.accept
        )

    def prepare_value(self, result: Any) -> Any:
        """A result as it is encoded."""
        return result.as_tuple() if hasattr(result, "as_tuple") else result

    def prepare_exception(self, exc: Any, serializer: str | None = None) -> Any:
        """An exception as it is encoded."""
        if isinstance(exc, BaseException):
            exc = failure_from_exception(exc, serializer=serializer or self.serializer)
        return form_of_failure(exc) if isinstance(exc, Failure) else exc

    def exception_to_python(self, exc: Any) -> Any:
        """And back."""
        if isinstance(exc, dict) and "exc_type" in exc:
            return exception_from_failure(failure_from_form(exc, None))
        return exc

    def encode_result(self, result: Any, state: str) -> Any:
        """The result of a call in that state as it is encoded."""
        return self.prepare_exception(result) if state in EXCEPTION_STATES else self.prepare_value(result)

    def meta_from_decoded(self, meta: dict[str, Any]) -> dict[str, Any]:
        """A record with its exception as one."""
        if meta.get("status") in EXCEPTION_STATES:
            meta["result"] = self.exception_to_python(meta.get("result"))
        return meta

    def decode_result(self, payload: Any) -> dict[str, Any]:
        """A record that was stored."""
        return self.meta_from_decoded(self.decode(payload))

    def current_task_children(self, request: Any = None) -> list[Any]:
        """What the call of `request` has sent."""
        children = getattr(request, "children", None) or ()
        return [child.as_tuple() if hasattr(child, "as_tuple") else child for child in children]

    # -- records

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **unused: Any,
    ) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must have a _store_result().")

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        raise NotImplementedError(f"{type(self).__name__} must have a _get_task_meta_for().")

    def _forget(self, task_id: str) -> None:
        raise NotImplementedError(f"{type(self).__name__} cannot forget results.")

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **unused: Any,
    ) -> Any:
        if traceback is None and isinstance(result, BaseException) and result.__traceback__:
            traceback = "".join(tracebacks.format_exception(result))
        encoded = self.encode_result(result, state)
        self._store_result(task_id, encoded, state, traceback, request=request)
        return encoded

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        return self._get_task_meta_for(task_id)

    def forget(self, task_id: str) -> None:
        self._forget(task_id)

    def _get_result_meta(
        self,
        result: Any,
        state: str,
        traceback: str | None,
        request: Any,
        format_date: bool = True,
        encode: bool = False,
    ) -> dict[str, Any]:
        now = datetime.now(UTC)
        meta = {
            "status": state,
            "result": self.encode_result(result, state) if encode else result,
            "traceback": traceback,
            "children": self.current_task_children(request),
            "date_done": now.isoformat() if format_date else now,
        }
        if getattr(request, "group", None):
            meta["group_id"] = request.group
        if self.app.conf.result_extended and request is not None:
            meta["name"] = getattr(request, "task", None)
            meta["args"], meta["kwargs"] = getattr(request, "args", None), getattr(request, "kwargs", None)
            meta["worker"], meta["retries"] = (
                getattr(request, "hostname", None),
                getattr(request, "retries", 0),
            )
        return meta

    def exception_safe_to_retry(self, exc: BaseException) -> bool:
        """Whether an operation that raised `exc` may be repeated."""
        return False

    def apply_chord(self, header_result_args: Any, body: Any, **unused: Any) -> None:
        """Joins are kept beside the broker, and need no help of a backend."""

    def on_chord_part_return(self, request: Any, state: str, result: Any, **unused: Any) -> None:
        """As above."""


class BaseDictBackend(BaseBackend):
    """One that keeps records as they are."""


class KeyValueStoreBackend(BaseBackend):
    """One that keeps bytes by keys."""

    task_keyprefix: Any = "celery-task-meta-"
    group_keyprefix: Any = "celery-taskset-meta-"

    def get(self, key: Any) -> Any:
        """What is stored there; None."""
        raise NotImplementedError("Must implement the get method.")

    def set(self, key: Any, value: Any) -> Any:
        """Store it."""
        raise NotImplementedError("Must implement the set method.")

    def delete(self, key: Any) -> Any:
        """Delete it."""
        raise NotImplementedError("Must implement the delete method.")

    def mget(self, keys: Iterable[Any]) -> list[Any]:
        """``get`` for several."""
        return [self.get(key) for key in keys]

    def get_key_for_task(self, task_id: str, key: str = "") -> Any:
        """The key of a record."""
        return f"{self.task_keyprefix}{task_id}{key}"

    def get_key_for_group(self, group_id: str, key: str = "") -> Any:
        """The key of a group."""
        return f"{self.group_keyprefix}{group_id}{key}"

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **unused: Any,
    ) -> Any:
        meta = self._get_result_meta(result, state, traceback, request)
        self.set(self.get_key_for_task(task_id), self.encode({**meta, "task_id": task_id}))
        return result

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        payload = self.get(self.get_key_for_task(task_id))
        return self.decode_result(payload) if payload else {"status": "PENDING", "result": None}

    def _forget(self, task_id: str) -> None:
        self.delete(self.get_key_for_task(task_id))

    def _save_group(self, group_id: str, result: Any) -> Any:
        self.set(self.get_key_for_group(group_id), self.encode({"result": result.as_tuple()}))
        return result

    def _restore_group(self, group_id: str) -> Mapping[str, Any] | None:
        payload = self.get(self.get_key_for_group(group_id))
        return {"result": result_from_tuple(self.decode(payload)["result"], self.app)} if payload else None

    def _delete_group(self, group_id: str) -> None:
        self.delete(self.get_key_for_group(group_id))


class DisabledBackend(BaseBackend):
    """No results are kept."""

    def store_result(self, *args: Any, **kwargs: Any) -> None:
        """Nowhere."""

    def _is_disabled(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("No result backend is configured. Set result_backend.")

    get_state = get_status = get_result = get_traceback = get_task_meta = _is_disabled
