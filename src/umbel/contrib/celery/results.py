"""What Celery's results have beside Umbel's: the graph of what followed from a call."""

from __future__ import annotations

from typing import Any

from umbel.contrib.celery.utils.graph import DependencyGraph, GraphFormatter
from umbel.result import AsyncResult

__all__ = ["build_graph", "install"]


def build_graph(
    self: AsyncResult[Any], intermediate: bool = False, formatter: GraphFormatter | None = None
) -> DependencyGraph:
    """The call and all that followed from it. Raises IncompleteStream while one has not ended, unless `intermediate`."""
    graph = DependencyGraph(formatter=formatter or GraphFormatter(root=self.id, shape="oval"))
    for parent, result in self.iterdeps(intermediate):
        graph.add_arc(result)
        if parent is not None:
            graph.add_edge(parent, result)
    return graph


def install() -> None:
    """Give these to ``AsyncResult``."""
    named: Any = AsyncResult
    named.build_graph = build_graph
    named.graph = property(build_graph, doc="``build_graph()``.")
