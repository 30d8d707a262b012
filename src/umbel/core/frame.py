"""A message as the broker sees it: bytes with their description, never a decoded task."""

from __future__ import annotations

from typing import Any

import msgspec

Headers = dict[str, Any]

# Extra headers that Umbel writes and every other reader of protocol 2 ignores.
PRIORITY_HEADER = "umbel_priority"
"""The exact priority, -100..100; absent means 0. Celery's four Redis lists can only tell four apart."""
DELIVERIES_HEADER = "umbel_deliveries"
"""Deliveries that ended in a crash before this copy of the message was written."""
HISTORY_HEADER = "umbel_history"
"""What befell those deliveries: a list of ``{"at": iso, "worker": name, "what": text}``."""


FLOW_HEADER = "umbel_flow"
"""It is the last call of a workflow. Of the others the body says what follows them."""


class Frame(msgspec.Struct, array_like=True, gc=False):
    """Body and description of one message, in the terms of Celery's protocol.

    ``headers`` are the task headers (``id``, ``task``, ``eta`` …), ``properties`` those of the transport
    (``correlation_id``, ``reply_to``, ``priority`` …). ``body`` is raw: base64 is the store's affair.
    """

    body: bytes
    content_type: str
    content_encoding: str
    headers: Headers
    properties: dict[str, Any]

    # Headers are whatever the sender wrote: what is not of its type counts as absent, so that every message can be filed.

    @property
    def task_id(self) -> str:
        """The id of the call; of a protocol 1 message, whose id is in the body, the correlation id, or ''."""
        value = self.headers.get("id") or self.properties.get("correlation_id")
        return value if isinstance(value, str) else ""

    @property
    def task_name(self) -> str:
        """The name of the task, or '' for a protocol 1 message, which has it in its body."""
        value = self.headers.get("task")
        return value if isinstance(value, str) else ""

    @property
    def priority(self) -> int:
        """Umbel's priority as its header says, -100..100, larger is sooner. See also ``core.priority.frame_priority``."""
        value = self.headers.get(PRIORITY_HEADER)
        return min(max(value, -100), 100) if isinstance(value, int) else 0
