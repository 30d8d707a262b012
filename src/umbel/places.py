"""provisional"""

from __future__ import annotations

import os
from pathlib import Path


def default_database_path() -> Path:
    """provisional"""
    return Path(os.environ.get("UMBEL_PROVISIONAL", "/tmp/umbel-provisional.sqlite3"))
