"""Middleware: what may change a call on its way out.

A middleware is a function that takes the envelope and returns it, or another one. It runs in the process that makes the
call, after its options were merged and before it is encoded; what it raises, the caller gets, and nothing is sent.

    @app.before_send
    def add_tenant(envelope):
        return msgspec.structs.replace(envelope, headers={**envelope.headers, "tenant": tenant.get()})
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from umbel.core.envelope import Envelope

__all__ = ["SendMiddleware", "apply_all"]

SendMiddleware = Callable[[Envelope], Envelope]


def apply_all(middleware: Iterable[SendMiddleware], envelope: Envelope) -> Envelope:
    """`envelope` after each of `middleware`, in their order. Raises TypeError when one returns anything else."""
    for function in middleware:
        changed = function(envelope)
        if not isinstance(changed, Envelope):
            raise TypeError(
                f"The middleware {function!r} returned {changed!r}; it must return an Envelope. Nothing was sent."
            )
        envelope = changed
    return envelope
