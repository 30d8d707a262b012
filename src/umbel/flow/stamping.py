"""Stamps: headers of one's own on every call of a workflow, such as the customer for whom it is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

__all__ = ["StampingVisitor", "merged_stamps", "stamps_of"]

NAMES = "stamped_headers"
"""The option that lists which of the others are stamps."""


class StampingVisitor(ABC):
    """Says what each part of a workflow is stamped with: ``workflow.stamp(visitor)`` asks it.

    Each method gets the part and the stamps that it has so far, and returns more of them. With the key ``stamped_headers`` it
    says which of those it returns are stamps; without it all are.
    """

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> Mapping[str, Any] | None:
        """The stamps of a single call."""

    def on_group_start(self, group: Any, **headers: Any) -> Mapping[str, Any] | None:
        """Those of all calls of a group."""
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:
        """The calls of a group have been stamped."""
        return

    def on_chain_start(self, chain: Any, **headers: Any) -> Mapping[str, Any] | None:
        """Those of all steps of a chain."""
        return {}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:
        """The steps of a chain have been stamped."""
        return

    def on_chord_header_start(self, chord: Any, **headers: Any) -> Mapping[str, Any] | None:
        """Those of all calls of a chord's header: as of a group, unless it is said otherwise."""
        return self.on_group_start(chord.header, **headers)

    def on_chord_header_end(self, chord: Any, **headers: Any) -> None:
        """The header of a chord has been stamped."""
        self.on_group_end(chord.header, **headers)

    def on_chord_body(self, chord: Any, **headers: Any) -> Mapping[str, Any] | None:
        """Those of the body of a chord."""
        return {}

    def on_callback(self, callback: Any, **headers: Any) -> Mapping[str, Any] | None:
        """Those of what is called when a call has succeeded."""
        return {}

    def on_errback(self, errback: Any, **headers: Any) -> Mapping[str, Any] | None:
        """Those of what is called when a call has failed."""
        return {}


def stamps_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The stamps among options, with the list of their names."""
    names = options.get(NAMES) or ()
    return {**{name: options[name] for name in names if name in options}, NAMES: list(names)} if names else {}


def merged_stamps(
    stamps: Mapping[str, Any], more: Mapping[str, Any] | None, *, append: bool = False
) -> dict[str, Any]:
    """Stamps and more of them. Where both have one it stays; with `append` a list of both takes its place.

    >>> merged_stamps({"a": 1}, {"b": 2})
    {'a': 1, 'b': 2, 'stamped_headers': ['a', 'b']}
    >>> merged_stamps({"a": 1}, {"a": 2}, append=True)
    {'a': [1, 2], 'stamped_headers': ['a']}
    """
    names: list[str] = []
    merged: dict[str, Any] = {}
    for source in (stamps, more or {}):
        names += source.get(NAMES, source)
        for name, value in source.items():
            if name == NAMES:
                continue
            if name not in merged:
                merged[name] = value
            elif append or (isinstance(merged[name], list) and isinstance(value, list)):
                merged[name] = [*_several(merged[name]), *_several(value)]
    return {**merged, NAMES: list(dict.fromkeys(names))}


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set) else [value]
