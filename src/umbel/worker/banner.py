"""What a worker says when it starts, in the form that Celery's users know."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from umbel._version import __version__
from umbel.backends import mask_url

if TYPE_CHECKING:
    from umbel.worker.program import Program

_ART = r"""
   \ | /
  --\|/--   umbel {version}
    \|/     {name}
     |      {platform}
"""


def render_banner(program: Program) -> str:
    """App, broker, results, pool, queues and tasks; passwords masked."""
    app = program.app
    result_url = app.result_url
    shape = f"{program.children * program.slots} ({program.pool})"
    rows = [
        ("app", app.main or "__main__"),
        ("broker", mask_url(app.broker_url)),
        (
            "results",
            mask_url(result_url) if result_url else "disabled:// (set result_backend to keep results)",
        ),
        ("concurrency", shape),
        ("task acks", "late" if app.conf.task_acks_late else "early"),
    ]
    if program.probes is not None:
        rows.append(("health", f"{program.probes.url}/ready"))
    lines = [
        _ART.format(version=__version__, name=program.name, platform=platform.platform()),
        "[config]",
        *(f".> {label + ':':<13}{value}" for label, value in rows),
        "",
        "[queues]",
        *(f".> {name}" for name in program.queues),
        "",
        "[tasks]",
        *(f"  . {name}" for name in sorted(app.tasks) if not name.startswith("celery.")),
        "",
    ]
    return "\n".join(lines)
