"""Fault points as a test sees them: which there are in the source, how often they were passed, and arming them."""

from __future__ import annotations

import ast
import pathlib
from typing import Literal

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "src" / "umbel"


def all_points() -> dict[str, str]:
    """Every fault point in the source, and the folder that it is in. Those of ``contrib`` have tests of their own.

    Files of one folder may do the same step in different ways, and call it the same.
    """
    found: dict[str, str] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if "contrib" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "faults.point":
                (name,) = node.args
                assert isinstance(name, ast.Constant), (
                    f"{path}:{node.lineno}: the name of a point is a literal"
                )
                folder = str(path.parent.relative_to(SOURCE))
                assert found.setdefault(name.value, folder) == folder, (
                    f"{path}:{node.lineno}: {name.value} is elsewhere too"
                )
    return found


class Points:
    """The directory by which a test and the processes under test talk about fault points. See ``umbel.faults``."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self._armed: dict[str, int] = {}
        directory.mkdir(parents=True, exist_ok=True)

    def passed(self, name: str) -> int:
        """How often the point was passed so far, by all processes."""
        try:
            return (self.directory / f"{name}.passed").stat().st_size
        except FileNotFoundError:
            return 0

    def arm(self, name: str, action: Literal["kill", "hang"] = "kill", *, passage: int = 1) -> int:
        """Let it happen at the `passage`-th passage from now on; returns that passage's number for ``passed``."""
        number = self._armed[name] = self.passed(name) + passage
        draft = self.directory / "draft"
        draft.write_text(f"{action} {number}")
        draft.rename(self.directory / f"{name}.armed")
        return number

    def struck(self, name: str) -> bool:
        """Whether the passage has come for which the point was armed last."""
        return self.passed(name) >= self._armed[name]

    def disarm(self, name: str) -> None:
        """Let nothing happen there any more; what hangs there goes on."""
        (self.directory / f"{name}.armed").unlink(missing_ok=True)
