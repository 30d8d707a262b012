"""Where tables are made: those of Umbel in every database, all others in "default"."""

from __future__ import annotations

from typing import Any


class OnlyUmbelEverywhere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == "default" or app_label == "umbel"
