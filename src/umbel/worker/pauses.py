"""How long to wait before trying a broker again."""

from __future__ import annotations

import random

_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def pause_after(failures: int) -> float:
    """Seconds to wait after that many failures in a row: longer and longer, up to ten or so, each a bit different,
    so that workers which lost the same broker do not all come back at the same instant."""
    return _PAUSES[min(failures, len(_PAUSES) - 1)] * (0.75 + 0.5 * random.random())
