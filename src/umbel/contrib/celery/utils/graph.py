"""``celery.utils.graph``: what depends on what, in order, and drawn in the language of Graphviz."""

from __future__ import annotations

import graphlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

__all__ = ["CycleError", "DependencyGraph", "GraphFormatter"]


class CycleError(Exception):
    """Two things depend on one another."""


class GraphFormatter:
    """How a graph looks: attributes for all that is drawn, for edges, nodes, leaves and the graph itself."""

    scheme: ClassVar[dict[str, Any]] = {
        "shape": "box",
        "arrowhead": "vee",
        "style": "filled",
        "fontname": "HelveticaNeue",
    }
    edge_scheme: ClassVar[dict[str, Any]] = {
        "color": "darkseagreen4",
        "arrowcolor": "black",
        "arrowsize": 0.7,
    }
    node_scheme: ClassVar[dict[str, Any]] = {"fillcolor": "palegreen3", "color": "palegreen4"}
    term_scheme: ClassVar[dict[str, Any]] = {"fillcolor": "palegreen1", "color": "palegreen2"}
    graph_scheme: ClassVar[dict[str, Any]] = {"bgcolor": "mintcream"}

    def __init__(
        self,
        root: Any = None,
        type: str | None = None,
        id: str | None = None,
        indent: int = 0,
        inw: str = "    ",
        **scheme: Any,
    ) -> None:
        self.id = id or "dependencies"
        self.root = root
        self.type = type or "digraph"
        self.direction = "--" if self.type == "graph" else "->"
        self.outer, self.inner = inw * indent, inw * (indent + 1)
        self.scheme = {**self.scheme, **scheme}  # type: ignore[misc]
        self.graph_scheme = {**self.graph_scheme, "root": self.label(root)}  # type: ignore[misc]

    def attr(self, name: str, value: Any) -> str:
        """One attribute."""
        return f'{name}="{value}"'

    def attrs(self, d: dict[str, Any] | None, scheme: dict[str, Any] | None = None) -> str:
        """Those of the scheme, and `d`."""
        together = {**self.scheme, **(scheme or {}), **(d or {})}
        return ", ".join(self.attr(name, value) for name, value in together.items())

    def head(self, **attrs: Any) -> str:
        """The first lines."""
        return f"{self.outer}{self.type} {self.id} {{\n{self.inner}graph [{self.attrs(attrs, self.graph_scheme)}]"

    def tail(self) -> str:
        """The last line."""
        return f"{self.outer}}}"

    def label(self, obj: Any) -> Any:
        """What is written for an object."""
        return obj

    def node(self, obj: Any, **attrs: Any) -> str:
        """A line for what depends on something."""
        return self.draw_node(obj, self.node_scheme, attrs)

    def terminal_node(self, obj: Any, **attrs: Any) -> str:
        """A line for what depends on nothing."""
        return self.draw_node(obj, self.term_scheme, attrs)

    def edge(self, a: Any, b: Any, **attrs: Any) -> str:
        """A line between two."""
        return self.draw_edge(a, b, attrs=attrs)

    def draw_node(self, obj: Any, scheme: dict[str, Any] | None = None, attrs: Any = None) -> str:
        """A line for an object."""
        return f'{self.inner}"{self.label(obj)}" [{self.attrs(attrs, scheme)}]'

    def draw_edge(self, a: Any, b: Any, scheme: dict[str, Any] | None = None, attrs: Any = None) -> str:
        """A line between two."""
        drawn = self.attrs(attrs, self.edge_scheme if scheme is None else scheme)
        return f'{self.inner}"{self.label(a)}" {self.direction} "{self.label(b)}" [{drawn}]'


class DependencyGraph:
    """Objects, and for each the list of those that it depends on."""

    def __init__(
        self, it: Iterable[tuple[Any, Any]] | None = None, formatter: GraphFormatter | None = None
    ) -> None:
        self.formatter = formatter or GraphFormatter()
        self.adjacent: dict[Any, list[Any]] = {}
        if it is not None:
            self.update(it)

    def add_arc(self, obj: Any) -> None:
        """Add an object."""
        self.adjacent.setdefault(obj, [])

    def add_edge(self, A: Any, B: Any) -> None:
        """`A` depends on `B`."""
        self[A].append(B)

    def connect(self, graph: DependencyGraph) -> None:
        """Take what another graph holds."""
        self.adjacent.update(graph.adjacent)

    def update(self, it: Iterable[tuple[Any, Any]]) -> None:
        """Add objects with lists of what they depend on."""
        pairs = list(it)
        for obj, _ in pairs:
            self.add_arc(obj)
        for obj, deps in pairs:
            for dep in deps:
                self.add_edge(obj, dep)

    def topsort(self) -> list[Any]:
        """All of them, each behind what it depends on."""
        try:
            return list(graphlib.TopologicalSorter(self.adjacent).static_order())
        except graphlib.CycleError as exc:
            raise CycleError(f"these depend on one another: {' -> '.join(map(str, exc.args[1]))}") from None

    def valency_of(self, obj: Any) -> int:
        """How many it depends on, those counted on which these depend."""
        counts = [
            len(self.adjacent.get(obj, ())),
            *(self.valency_of(dep) for dep in self.adjacent.get(obj, ())),
        ]
        return sum(counts)

    def edges(self) -> Iterator[Any]:
        """Those that depend on something."""
        return (obj for obj, deps in self.adjacent.items() if deps)

    def to_dot(self, fh: Any, formatter: GraphFormatter | None = None) -> None:
        """Write it to a file for Graphviz."""
        draw = formatter or self.formatter
        seen: Counter[Any] = Counter()
        lines = [draw.head()]
        for obj, deps in self.items():
            if not deps:
                if obj not in seen:
                    lines.append(draw.terminal_node(obj))
                seen[obj] += 1
                continue
            for which in (obj, *deps):
                if which not in seen:
                    lines.append(draw.node(which) if self.adjacent.get(which) else draw.terminal_node(which))
                seen[which] += 1
            lines += [draw.edge(obj, dep) for dep in deps]
        lines.append(draw.tail())
        for line in lines:
            fh.write(line + "\n")

    def format(self, obj: Any) -> Any:
        """What is written for an object."""
        return self.formatter.label(obj)

    def repr_node(self, obj: Any, level: int = 1, fmt: str = "{0}({1})") -> str:
        """An object and what it depends on, a line each."""
        lines = [fmt.format(obj, self.valency_of(obj))]
        lines += [" " * 5 * level + self.repr_node(dep, level + 1, fmt) for dep in self.adjacent.get(obj, ())]
        return "\n".join(lines)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.adjacent)

    def __getitem__(self, node: Any) -> list[Any]:
        return self.adjacent[node]

    def __len__(self) -> int:
        return len(self.adjacent)

    def __contains__(self, obj: object) -> bool:
        return obj in self.adjacent

    def items(self) -> Iterator[tuple[Any, list[Any]]]:
        """Objects with lists of what they depend on."""
        return iter(self.adjacent.items())

    iteritems = items

    def __repr__(self) -> str:
        return "\n".join(self.repr_node(obj) for obj in self)
