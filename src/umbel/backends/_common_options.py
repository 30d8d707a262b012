"""What the backends share in reading a URL and its options."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from umbel.errors import ConfigurationError

__all__ = ["refuse_unknown_options"]


def refuse_unknown_options(options: Mapping[str, Any], known: Collection[str], *, backend: str) -> None:
    """Raise ``ConfigurationError`` when `options` holds a name that `backend` does not have."""
    unknown = sorted(set(options) - set(known))
    if not unknown:
        return
    has = f"It has: {', '.join(sorted(known))}." if known else "It has none."
    raise ConfigurationError(
        f"{backend} has no option named {', '.join(map(repr, unknown))}. {has} "
        "Remove it from the URL and from broker_transport_options or result_backend_transport_options."
    )
