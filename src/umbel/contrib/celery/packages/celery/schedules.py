"""Schedules."""

from __future__ import annotations

from umbel.contrib.celery.schedules import ParseException, crontab, crontab_parser, schedule

__all__ = ["ParseException", "crontab", "crontab_parser", "schedule"]
