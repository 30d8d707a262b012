"""How long to wait before trying a broker again, and before renewing leases again."""

from __future__ import annotations

import random

_PAUSES = (0.2, 0.5, 1.0, 2.0, 3.0)


def pause_after(failures: int) -> float:
    """Seconds to wait after that many failures in a row: longer and longer, up to three or so, each a bit different,
    so that workers which lost the same broker do not all come back at the same instant."""
    return _PAUSES[min(failures, len(_PAUSES) - 1)] * (0.75 + 0.5 * random.random())


_RENEWALS = 10
"""So often a lease is renewed before it would end: a worker that is cut off right before a renewal has nearly all of the
lease left to come back in."""


def renewal_pause(lease: float, failures: int) -> float:
    """Seconds until leases of `lease` seconds are renewed again. After a failure soon: out of reach the leases run on, and
    whoever comes back a moment too late has lost them."""
    usual = lease / _RENEWALS
    return min(usual, pause_after(0)) if failures else usual
