"""Mappings and sets."""

from __future__ import annotations

from umbel.contrib.celery.utils.collections import (
    AttributeDict,
    AttributeDictMixin,
    BufferMap,
    ChainMap,
    DictAttribute,
    LimitedSet,
    Messagebuffer,
    OrderedDict,
    force_mapping,
    lpmerge,
)

__all__ = [
    "AttributeDict",
    "AttributeDictMixin",
    "BufferMap",
    "ChainMap",
    "DictAttribute",
    "LimitedSet",
    "Messagebuffer",
    "OrderedDict",
    "force_mapping",
    "lpmerge",
]
