"""A call as those hear of it who listen in the node: commands of the program's own, and the signals of what a worker receives."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import msgspec

from umbel.worker.inflight import Held

__all__ = ["Request"]


class Request:
    """What a worker knows of a call without opening what it may not. Attributes are Celery's."""

    def __init__(self, held: Held, hostname: str, *, app: Any = None, worker_pid: int | None = None) -> None:
        frame, headers = held.frame, held.frame.headers
        self.app = app
        self.hostname = hostname
        self.worker_pid = worker_pid
        self.id = self.task_id = frame.task_id
        self.name = self.task_name = self.type = frame.task_name
        self.args, self.kwargs = arguments_of(held)
        self.argsrepr = headers.get("argsrepr", "")
        self.kwargsrepr = headers.get("kwargsrepr", "")
        self.root_id, self.parent_id = headers.get("root_id"), headers.get("parent_id")
        self.group, self.group_index = headers.get("group"), headers.get("group_index")
        self.eta, self.expires = headers.get("eta"), headers.get("expires")
        self.retries = headers.get("retries", 0)
        self.time_limits = headers.get("timelimit") or [None, None]
        self.stamps, self.stamped_headers = headers.get("stamps"), headers.get("stamped_headers")
        self.correlation_id = frame.properties.get("correlation_id")
        self.reply_to = frame.properties.get("reply_to")
        self.request_dict = self.headers = dict(headers)
        self.acknowledged = held.receipt is None
        self.time_start = held.began
        info = frame.properties.get("delivery_info")
        self.delivery_info = {
            "exchange": info.get("exchange", "") if isinstance(info, dict) else "",
            "routing_key": held.queue,
            "priority": frame.properties.get("priority", 0),
            "redelivered": held.deliveries > 1,
        }
        self.message = SimpleNamespace(
            headers=dict(headers),
            properties=dict(frame.properties),
            body=frame.body,
            content_type=frame.content_type,
            content_encoding=frame.content_encoding,
            delivery_info=self.delivery_info,
        )

    @property
    def task(self) -> Any:
        """The task, where it is known here."""
        return None if self.app is None else self.app.tasks.get(self.name)

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What ``inspect`` shows of it."""
        return {
            "id": self.id,
            "name": self.name,
            "args": self.args,
            "kwargs": self.kwargs,
            "type": self.type,
            "hostname": self.hostname,
            "time_start": self.time_start or time.time(),
            "acknowledged": self.acknowledged,
            "delivery_info": self.delivery_info,
            "worker_pid": self.worker_pid,
            "retries": self.retries,
        }

    def __repr__(self) -> str:
        return f"<Request: {self.name}[{self.id}] {self.argsrepr} {self.kwargsrepr}>"


def arguments_of(held: Held) -> tuple[Any, Any]:
    """As values where they are plain JSON; else as they are shown."""
    frame = held.frame
    if frame.content_type == "application/json" and "compression" not in frame.headers:
        try:
            body = msgspec.json.decode(frame.body)
        except msgspec.MsgspecError:
            body = None
        if isinstance(body, list) and len(body) == 3:
            return body[0], body[1]
    return frame.headers.get("argsrepr", ""), frame.headers.get("kwargsrepr", "")
