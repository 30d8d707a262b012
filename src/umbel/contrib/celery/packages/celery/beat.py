"""Beat."""

from __future__ import annotations

from umbel.contrib.celery.beat import (
    BeatLazyFunc,
    EmbeddedService,
    PersistentScheduler,
    ScheduleEntry,
    Scheduler,
    SchedulingError,
    Service,
    event_t,
)

__all__ = [
    "BeatLazyFunc",
    "EmbeddedService",
    "PersistentScheduler",
    "ScheduleEntry",
    "Scheduler",
    "SchedulingError",
    "Service",
    "event_t",
]
