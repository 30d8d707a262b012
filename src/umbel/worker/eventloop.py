"""Which event loop the worker's processes run."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed (``umbel[uvloop]``); None: asyncio's own."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("uvloop").new_event_loop  # type: ignore[no-any-return]
    return None
