"""Result stores by name."""

from __future__ import annotations

from umbel.contrib.celery.parts import by_name, by_url

__all__ = ["by_name", "by_url"]
