"""The command line. Only this module and its two helpers load for ``umbel --help``; each command loads when it is used."""

from __future__ import annotations

from umbel.cli.base import main

__all__ = ["main"]
