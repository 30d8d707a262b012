"""The options of a declaration and of a call: their names and types, in one place for people, checkers and the run time."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from umbel.core.envelope import PRIORITY_MAX, PRIORITY_MIN, Options
from umbel.errors import CallError

if TYPE_CHECKING:
    from umbel.flow.signature import Signature

__all__ = [
    "CALL_OPTIONS",
    "NOT_IN_MESSAGES",
    "TASK_OPTIONS",
    "CallOptions",
    "TaskOptions",
    "WaitOptions",
    "check_limits",
    "check_priority",
    "ignore_wait_options",
    "refuse_unknown",
]


class TaskOptions(TypedDict, total=False):
    """What ``@app.task(...)`` takes beside ``bind``, ``name`` and ``base``. Each becomes an attribute of the task."""

    max_retries: int | None
    """Retries before the task fails; None: without end. Default 3."""
    default_retry_delay: float
    """Seconds that ``retry()`` waits when it is not told. Default 180."""
    autoretry_for: Iterable[type[BaseException]]
    """Exceptions after which it is retried by itself."""
    dont_autoretry_for: Iterable[type[BaseException]]
    """Exceptions among those after which it is not."""
    retry_kwargs: Mapping[str, Any]
    """Arguments of ``retry()`` for automatic retries, such as max_retries and countdown."""
    retry_backoff: bool | float
    """Wait 1, 2, 4, 8 … seconds between automatic retries, times this number."""
    retry_backoff_max: float
    """But at most so many seconds. Default 600."""
    retry_jitter: bool
    """Spread the waiting at random between half of that and that. Default True."""
    ignore_result: bool | None
    store_errors_even_if_ignored: bool | None
    store_eager_result: bool | None
    rate_limit: str | float | None
    """``"10/m"``: at most so many runs per worker."""
    time_limit: float | None
    soft_time_limit: float | None
    acks_late: bool | None
    acks_on_failure_or_timeout: bool | None
    acks_on_failure: bool | None
    acks_on_timeout: bool | None
    reject_on_worker_lost: bool | None
    max_deliveries: int | None
    """Deliveries of one message before it goes to the dead letters (``task_max_deliveries``)."""
    serializer: str | None
    compression: str | None
    queue: str | None
    exchange: str | None
    routing_key: str | None
    priority: int | None
    """-100..100, larger is sooner."""
    expires: float | datetime | None
    track_started: bool | None
    throws: Iterable[type[BaseException]]
    """Exceptions that are expected: logged without a traceback."""
    trail: bool
    """The calls that it makes are kept as its children. Default True."""
    send_events: bool
    typing: bool
    """Check arguments when it is called. Default True."""
    resultrepr_maxsize: int


class CallOptions(TypedDict, total=False):
    """What ``apply_async`` takes beside ``args`` and ``kwargs``."""

    countdown: float | None
    """Run so many seconds from now."""
    eta: datetime | None
    """Run at that time. A naive one is UTC, or the timezone setting when enable_utc is off."""
    expires: float | datetime | str | None
    """Do not run after so many seconds, or after that time."""
    queue: str | Any | None
    exchange: str | Any | None
    routing_key: str | None
    priority: int | None
    """-100..100, larger is sooner."""
    serializer: str | None
    compression: str | None
    headers: Mapping[str, Any] | None
    task_id: str | None
    ignore_result: bool | None
    time_limit: float | None
    soft_time_limit: float | None
    retry: bool
    """Try again when the broker cannot be reached. Default: task_publish_retry."""
    retry_policy: Mapping[str, Any] | None
    link: Signature | Mapping[str, Any] | Iterable[Signature | Mapping[str, Any]] | None
    """Called with the result when the task has succeeded."""
    link_error: Signature | Mapping[str, Any] | Iterable[Signature | Mapping[str, Any]] | None
    """Called when it has failed."""
    shadow: str | None
    """The name shown in logs in place of the task's own."""
    argsrepr: str | None
    kwargsrepr: str | None
    """What logs and monitors show of the arguments: hide secrets with it."""
    reply_to: str | None
    correlation_id: str | None
    root_id: str | None
    parent_id: str | None
    group_id: str | None
    group_index: int | None
    chain: list[Any] | None
    chord: Any
    replaced_task_nesting: int
    stamped_headers: list[str] | None
    stamps: dict[str, Any]
    on_commit: bool
    """Within a transaction of the web framework: send when it has been committed, not if it is rolled back. False: now,
    whatever becomes of it. Default: as the integration is set up (Django: True)."""
    add_to_parent: bool
    """The result is kept among the children of the task that makes the call. Default True."""
    producer: Any
    connection: Any
    publisher: Any
    """Celery's ways to name a connection. Taken and ignored: the app has its own."""


class WaitOptions(TypedDict, total=False):
    """What Celery's ``get`` takes and Umbel's has no use for: taken and ignored."""

    no_ack: bool
    """Of the message that carries the result; here none does."""
    follow_parents: bool
    """The failure of a parent is its own result's."""
    on_message: Callable[..., Any] | None
    on_interval: Callable[[], Any] | None
    """Never called, which a RuntimeWarning says."""


NOT_IN_MESSAGES = frozenset({"add_to_parent", "on_commit", "producer", "connection", "publisher"})
"""Options of a call that the message does not show."""
TASK_OPTIONS = frozenset(TaskOptions.__annotations__)
CALL_OPTIONS = frozenset(CallOptions.__annotations__)
assert frozenset(Options.__struct_fields__) <= CALL_OPTIONS


def refuse_unknown(given: Iterable[str], known: Collection[str], what: str) -> None:
    """Raise TypeError for the first name that is not known, with the nearest that is."""
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"{what} has no option {name!r}.{hint}")


def ignore_wait_options(given: WaitOptions) -> None:
    """Raise TypeError for what is not one of Celery's arguments, and warn of callbacks that will not be called."""
    refuse_unknown(given, WaitOptions.__annotations__, "get()")
    for name in ("on_message", "on_interval"):
        if given.get(name) is not None:
            warnings.warn(
                f"get({name}=...) is taken for Celery's sake and never called: nothing polls. "
                "Look at result.state, or iterate over app.results([...]).as_completed().",
                RuntimeWarning,
                stacklevel=3,
            )


def check_priority(priority: Any, subject: str, error: Callable[[str], Exception] = CallError) -> None:
    """Raise unless `priority` is None or one of Umbel's."""
    if priority is None or (type(priority) is int and PRIORITY_MIN <= priority <= PRIORITY_MAX):
        return
    raise error(
        f"{subject}: priority must be a whole number from {PRIORITY_MIN} to {PRIORITY_MAX} (larger is sooner), not {priority!r}."
    )


def check_limits(soft: Any, hard: Any, subject: str, error: Callable[[str], Exception] = CallError) -> None:
    """Raise unless both are None or positive numbers, and the soft one is not the longer."""
    for name, value in (("soft_time_limit", soft), ("time_limit", hard)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or value <= 0
        ):
            raise error(f"{subject}: {name} must be a number of seconds above 0, not {value!r}.")
    if soft is not None and hard is not None and soft > hard:
        raise error(f"{subject}: soft_time_limit ({soft}) must not be longer than time_limit ({hard}).")
