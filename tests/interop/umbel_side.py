"""Umbel's side: the app for ``umbel -A interop.umbel_side worker``, and a maker of apps for the tests."""

from __future__ import annotations

import json
import os
from typing import Any

from interop import jobs
from umbel import Umbel, errors


def make_app(broker: str, backend: str, queue: str, **settings: Any) -> Umbel:
    """An app with the tasks; ``app.tasks["jobs.add"]`` and so on."""
    made = Umbel(
        "interop",
        broker=broker,
        backend=backend,
        task_default_queue=queue,
        set_as_current=False,
        **settings,
    )
    jobs.define(made, errors)
    return made


if "INTEROP_QUEUE" in os.environ:
    app = make_app(
        os.environ["INTEROP_BROKER"],
        os.environ["INTEROP_BACKEND"],
        os.environ["INTEROP_QUEUE"],
        **json.loads(os.environ.get("INTEROP_SETTINGS", "{}")),
    )
