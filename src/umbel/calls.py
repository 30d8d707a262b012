"""From a call to a frame: options merged once (app < task < call), routed, checked and encoded.

What does not change from call to call of one task is worked out once and kept in a ``Plan`` until a setting changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET

from umbel.arguments import ArgumentCheck
from umbel.codecs.protocol import decode_call, encode_call
from umbel.context import current_request
from umbel.core.envelope import Embed, Envelope, Options
from umbel.core.priority import umbel_priority
from umbel.errors import CallError
from umbel.flow.signature import as_dicts
from umbel.ids import new_id
from umbel.middleware import apply_all
from umbel.options import CALL_OPTIONS, NOT_IN_MESSAGES, check_limits, check_priority, refuse_unknown
from umbel.ports import Frame, Outgoing
from umbel.result import AsyncResult
from umbel.routing import ADDRESS, Router
from umbel.signals import before_task_publish

if TYPE_CHECKING:
    from umbel.app import Umbel
    from umbel.task import Task

__all__ = ["Planner", "Prepared", "published"]

_NO_EMBED = Embed()
_REPLY_TO = new_id()
"""Celery's clients name a queue for replies in every message; workers of the rpc:// backend answer to it."""
# Attributes of a task that become options of its calls.
_FROM_TASK = (*ADDRESS, "priority", "expires", "serializer", "compression", "time_limit", "soft_time_limit")


class Prepared(NamedTuple):
    """A call that is ready to be stored."""

    envelope: Envelope
    outgoing: Outgoing
    result: AsyncResult[Any]


class _Plan(msgspec.Struct, kw_only=True):
    """What all calls of one task have in common under one version of the settings."""

    version: int
    name: str
    task: Task[..., Any] | None
    defaults: dict[str, Any]
    """What the settings say."""
    given: dict[str, Any]
    """What the task says."""
    queue: str | None
    """Where its calls go; None when routes want to see the arguments."""
    layer: dict[str, Any]
    """defaults < route < given."""
    options: Options
    """The same, for calls without options of their own."""
    common: dict[str, Any]
    """What their envelopes have in common."""
    arguments: ArgumentCheck | None
    parameters: tuple[str, ...]
    timezone: tzinfo
    inherit_priority: bool
    protocol: int


class Planner:
    """Prepares the calls of one app."""

    def __init__(self, app: Umbel) -> None:
        self._app = app
        self._conf = app.conf
        self._plans: dict[str, _Plan] = {}
        self._router = Router(app.conf)
        self._router_version = app.conf.version

    def prepare(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        task: Task[..., Any] | None = None,
        *,
        retries: int = 0,
    ) -> Prepared:
        """Check, merge, route and encode one call. Nothing is sent.

        `task` is the task of that name; None when only the name is known, and so nothing of its arguments. `retries` is
        the number of tries that have been.

        Raises TypeError, CallError or EncodeError when the call is wrong, ConfigurationError when settings are.
        """
        plan = self._plan(name, task)
        envelope, merged, due_in = self._planned(plan, args, kwargs, options, retries)
        frame = _encoded(plan, envelope, merged)
        if self._app.celery_options and isinstance(merged.priority, int) and 0 < merged.priority <= 9:
            frame.properties["priority"] = (
                merged.priority
            )  # as it was given, and not as the step that it stands on
        if before_task_publish.receivers:
            before_task_publish.send(name, **published(envelope, frame), declare=[], retry_policy=None)
            # Arguments may have been changed in place, and headers, which are written when the frame is stored.
            frame = msgspec.structs.replace(frame, body=_encoded(plan, envelope, merged).body)
        return Prepared(
            envelope,
            Outgoing(
                frame=frame,
                queue=envelope.queue,
                priority=envelope.priority,
                due_in=due_in,
            ),
            AsyncResult(envelope.id, app=self._app, ignored=bool(envelope.ignore_result)),
        )

    def envelope(
        self,
        task: Task[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        *,
        retries: int = 0,
        travelled: bool = False,
    ) -> Envelope:
        """The call for a run in place. `travelled`: as it would come out of a message, if it can go into one."""
        plan = self._plan(task.name, task)
        envelope, merged, _ = self._planned(plan, args, kwargs, options, retries)
        if travelled:
            frame = _encoded(plan, envelope, merged)
            arrived = decode_call(frame, [frame.content_type])
            return msgspec.structs.replace(envelope, args=arrived.args, kwargs=arrived.kwargs)
        return envelope

    def _planned(
        self,
        plan: _Plan,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any] | None,
        retries: int,
    ) -> tuple[Envelope, Options, float | None]:
        if plan.arguments is not None:
            plan.arguments.check(plan.name, args, kwargs)
        if options or plan.queue is None:
            merged, queue = self._merged(plan, args, kwargs, options or {})
            common = _common(plan.name, merged, queue)
        else:
            merged, common = plan.options, plan.common
        eta, expires, due_in = _times(plan, merged)
        arguments = (tuple(args), dict(kwargs), retries)
        envelope = _envelope(common, merged, arguments, (eta, expires), plan.inherit_priority)
        if self._app.celery_options and 0 < envelope.priority <= 9:
            envelope = msgspec.structs.replace(envelope, priority=umbel_priority(envelope.priority))
        if self._app.send_middleware:
            envelope = apply_all(self._app.send_middleware, envelope)
        return envelope, merged, due_in

    # -- plans and options

    def router(self) -> Router:
        """The router for the settings of now."""
        if self._router_version != self._conf.version:
            self._router, self._router_version = Router(self._conf), self._conf.version
        return self._router

    def _plan(self, name: str, task: Task[..., Any] | None) -> _Plan:
        plan = self._plans.get(name)
        if plan is None or plan.version != self._conf.version or plan.task is not task:
            plan = self._plans[name] = self._new_plan(name, task)
        return plan

    def _new_plan(self, name: str, task: Task[..., Any] | None) -> _Plan:
        conf = self._conf
        conf.check()
        defaults = {
            "serializer": conf.task_serializer,
            "compression": conf.task_compression,
            "priority": conf.task_default_priority,
        }
        given: dict[str, Any] = {}
        if task is not None:
            given = {o: value for o in _FROM_TASK if (value := getattr(task, o)) is not None}
            given["ignore_result"] = (
                conf.task_ignore_result if task.ignore_result is None else task.ignore_result
            )
        router = self.router()
        queue, routed = (None, {}) if router.dynamic else router.route(name, (), {}, given, task)
        layer = {**defaults, **_known(routed), **given}
        arguments = None if task is None else task.arguments
        options = Options.merge(layer)
        return _Plan(
            version=conf.version,
            name=name,
            task=task,
            defaults=defaults,
            given=given,
            queue=queue,
            layer=layer,
            options=options,
            common={} if queue is None else _common(name, options, queue),
            arguments=arguments,
            parameters=() if arguments is None else arguments.names,
            timezone=UTC if conf.enable_utc or not conf.timezone else ZoneInfo(conf.timezone),
            inherit_priority=conf.task_inherit_parent_priority,
            protocol=conf.task_protocol,
        )

    def _merged(
        self, plan: _Plan, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Options, str]:
        subject = f"A call of {plan.name!r}"
        options = _with_stamps(options)
        if not self._app.celery_options:
            refuse_unknown(options, CALL_OPTIONS, subject)
        call = _known(options)
        address = {k: call[k] for k in ADDRESS if call.get(k) is not None}
        if plan.queue is not None and not address:
            queue, merged = plan.queue, Options.merge(plan.layer, call)
        else:
            given = {k: v for k, v in plan.given.items() if not address or k not in ADDRESS}
            queue, routed = self.router().route(plan.name, args, kwargs, {**given, **call}, plan.task)
            merged = Options.merge(plan.defaults, _known(routed), plan.given, call)
        check_priority(merged.priority or None, subject)
        check_limits(merged.soft_time_limit or None, merged.time_limit or None, subject)
        return merged, queue


def _with_stamps(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Stamps stand among the options of a signature by their names; in a message they have a place of their own."""
    names = options.get("stamped_headers")
    if not names or options.get("stamps"):
        return options
    rest = {name: value for name, value in options.items() if name not in names}
    return {**rest, "stamps": {name: options.get(name) for name in names}}


def published(envelope: Envelope, frame: Frame) -> dict[str, Any]:
    """What the signals of publishing are told of a message, in Celery's words."""
    embed = envelope.embed
    follow = {
        "callbacks": embed.callbacks,
        "errbacks": embed.errbacks,
        "chain": embed.chain,
        "chord": embed.chord,
    }
    return {
        "body": (envelope.args, envelope.kwargs, follow),
        "exchange": "",
        "routing_key": envelope.queue,
        "headers": frame.headers,
        "properties": frame.properties,
    }


def _encoded(plan: _Plan, envelope: Envelope, options: Options) -> Frame:
    return encode_call(
        envelope,
        serializer=options.serializer or "json",
        compression=options.compression or None,
        protocol=plan.protocol,
        parameters=plan.parameters,
    )


def _known(routed: Mapping[str, Any]) -> dict[str, Any]:
    """Those that a message shows. A route may carry options of AMQP, which mean nothing here."""
    return {k: v for k, v in routed.items() if k in CALL_OPTIONS and k not in NOT_IN_MESSAGES}


# ----------------------------------------------------------------------------------------------- envelopes


def _envelope(
    common: dict[str, Any],
    options: Options,
    arguments: tuple[tuple[Any, ...], dict[str, Any], int],
    times: tuple[datetime | None, datetime | None],
    inherit_priority: bool,
) -> Envelope:
    """Put it together. Calls made inside a run know their parent and their root."""
    request = current_request()
    task_id = options.task_id or new_id()
    parent_id = root_id = None
    priority = options.priority or 0
    if request is not None:
        parent_id, root_id = request.id, request.root_id or request.id
        if inherit_priority and options.priority is None and request.delivery_info:
            priority = request.delivery_info.get("priority") or 0
    return Envelope(
        id=task_id,
        args=arguments[0],
        kwargs=arguments[1],
        priority=priority,
        eta=times[0],
        expires=times[1],
        retries=arguments[2],
        root_id=options.root_id or root_id or task_id,
        parent_id=options.parent_id or parent_id,
        headers=dict(options.headers) if options.headers else {},
        **common,
    )


def _common(name: str, options: Options, queue: str) -> dict[str, Any]:
    """The fields of an envelope that every call of the task `name` under `options` has alike, as far as they are set."""
    fields = {
        "task": name,
        "embed": _embed(options),
        "queue": queue,
        "time_limit": options.time_limit or None,
        "soft_time_limit": options.soft_time_limit or None,
        "ignore_result": None if options.ignore_result is UNSET else options.ignore_result,
        "group_id": options.group_id or None,
        "group_index": None if options.group_index is UNSET else options.group_index,
        "shadow": options.shadow or None,
        "argsrepr": None if options.argsrepr is UNSET else options.argsrepr,
        "kwargsrepr": None if options.kwargsrepr is UNSET else options.kwargsrepr,
        "reply_to": options.reply_to or _REPLY_TO,
        "correlation_id": options.correlation_id or None,
        "replaced_task_nesting": options.replaced_task_nesting or None,
        "stamps": options.stamps or None,
        "stamped_headers": options.stamped_headers or None,
    }
    return {field: value for field, value in fields.items() if value is not None}


def _embed(options: Options) -> Embed:
    if not (options.link or options.link_error or options.chain or options.chord):
        return _NO_EMBED
    return Embed(
        callbacks=as_dicts(options.link) if options.link else None,
        errbacks=as_dicts(options.link_error) if options.link_error else None,
        chain=as_dicts(options.chain) if options.chain else None,
        chord=as_dicts(options.chord)[0] if options.chord else None,
    )


def _times(plan: _Plan, options: Options) -> tuple[datetime | None, datetime | None, float | None]:
    """When it is due, when it expires, and in how many seconds it is due."""
    countdown, eta, expires = options.countdown or None, options.eta or None, options.expires
    if countdown is None and eta is None and (expires is UNSET or expires is None):
        return None, None, None
    now = datetime.now(plan.timezone)
    due_in = None
    if countdown is not None:
        eta, due_in = _after(now, countdown, "countdown"), float(countdown)
    elif eta is not None:
        due_in = (_aware(_datetime(eta, "eta"), plan.timezone) - now).total_seconds()
    if expires is UNSET or expires is None:
        return eta, None, due_in
    if isinstance(expires, int | float):
        return eta, _after(now, expires, "expires"), due_in
    return eta, _aware(_datetime(expires, "expires"), plan.timezone), due_in


def _after(now: datetime, seconds: Any, option: str) -> datetime:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise CallError(f"{option} must be a number of seconds, not {type(seconds).__name__} {seconds!r}.")
    try:
        return now + timedelta(seconds=seconds)
    except (OverflowError, ValueError) as exc:
        raise CallError(f"{option}={seconds!r} is out of range: {exc}.") from exc


def _datetime(value: Any, option: str) -> datetime:
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError as exc:
            raise CallError(f"{option}={value!r} is not a time in ISO 8601 form.") from exc
    if not isinstance(value, datetime):
        raise CallError(f"{option} must be a datetime, not {type(value).__name__} {value!r}.")
    return value


def _aware(value: datetime, timezone: tzinfo) -> datetime:
    return value if value.tzinfo is not None else value.replace(tzinfo=timezone)
