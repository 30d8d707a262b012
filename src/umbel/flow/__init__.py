"""Workflows: signatures, and what is made of several. Importing it makes all kinds known to ``Signature.from_dict``."""

from umbel.flow import canvas, repeated

__all__ = ["canvas", "repeated"]
