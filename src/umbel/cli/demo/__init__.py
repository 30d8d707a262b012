"""``umbel demo``: a real worker does real work in a folder of its own, and goes away again."""

from __future__ import annotations

from umbel.cli.demo.command import demo

__all__ = ["demo"]
