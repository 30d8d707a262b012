"""What nodes.lua tells."""

from __future__ import annotations

from typing import Any

import msgspec

from umbel.ports import NodeInfo

__all__ = ["read_nodes"]


def read_nodes(pairs: list[Any]) -> list[NodeInfo]:
    """The nodes in an answer of the script."""
    nodes = []
    for said, ago in zip(pairs[::2], pairs[1::2], strict=True):
        node = msgspec.json.decode(said, type=NodeInfo)
        node.seen_ago = ago / 1000
        nodes.append(node)
    return nodes
