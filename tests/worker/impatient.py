"""``obstructed`` with short limits for what counts as a fault."""

from __future__ import annotations

from umbel.worker import fetcher, health

health.LIMITS = health.Limits(unanswered=3.0, beat=0.2, silent=3.0, hung=6.0, stuck=4.0)
fetcher.RESERVE_WAIT = 0.5

# After the limits, which others take over when they are imported.
from obstructed import main  # noqa: E402

if __name__ == "__main__":
    main()
