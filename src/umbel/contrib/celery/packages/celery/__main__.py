"""``python -m celery``, and what the script ``celery`` calls."""

from __future__ import annotations

from umbel.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
