"""How a running task gives its place to something else: ``Task.replace`` and ``Task.add_to_chord``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from umbel.errors import CallError, ConfigurationError, Ignore
from umbel.flow.canvas import chain, group
from umbel.flow.launch import Launch, freeze, launch
from umbel.flow.signature import Signature, as_list, maybe_signature

if TYPE_CHECKING:
    from umbel.context import Request

__all__ = ["ACCUMULATE", "Replaced", "launch_in_place", "place_in_chord", "replacement"]

ACCUMULATE = "celery.accumulate"
"""The built-in task whose value is one of its arguments."""


class Replaced(Ignore):
    """The run has ended, and what takes its place is to be sent with the removal of its message."""

    def __init__(self, begun: Launch) -> None:
        super().__init__("replaced by another call")
        self.begun = begun


def replacement(canvas: Signature, request: Request) -> Signature:
    """`canvas` with the id, the callbacks and the place of the call that runs under `request`.

    Raises ConfigurationError for what cannot take a place.
    """
    if canvas.options.get("chord") is not None:
        raise ConfigurationError("What replaces a task must not be a member of a chord already.")
    whole = canvas.clone()
    if isinstance(whole, chain) and not whole.tasks:
        raise ConfigurationError("A task cannot be replaced by an empty chain.")
    if isinstance(whole, group) or (isinstance(whole, chain) and isinstance(whole.tasks[-1], group)):
        # So that there is one call whose result is that of the task.
        whole = whole | Signature(ACCUMULATE, kwargs={"index": 0}, app=whole._app)
    for callback in as_list(request.callbacks):
        whole.link(maybe_signature(callback))
    for errback in as_list(request.errbacks):
        whole.link_error(maybe_signature(errback))
    freeze(whole, {"task_id": request.id})
    nesting = request.replaced_task_nesting + 1
    for part in (whole, *whole._all_members()):
        part.options["replaced_task_nesting"] = nesting
    return whole


def launch_in_place(canvas: Signature, request: Request) -> Launch:
    """What is sent for `canvas`, which ``replacement`` has made: followed by what follows the call itself."""
    options: dict[str, Any] = {
        "chord": request.chord,
        "group_id": request.group,
        "group_index": request.group_index,
        "root_id": request.root_id,
        "chain": request.chain,
    }
    return launch(canvas, options={k: v for k, v in options.items() if v is not None})


def place_in_chord(canvas: Signature, request: Request) -> Signature:
    """`canvas` as another member of the chord to which the running call belongs. Raises CallError when it belongs to none."""
    if request.chord is None:
        raise CallError(f"The call {request.id} is not a member of a chord, so nothing can be added to it.")
    return canvas.clone().set(
        group_id=request.group,
        group_index=request.group_index,
        chord=request.chord,
        root_id=request.root_id,
    )
