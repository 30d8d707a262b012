"""Something to work on: text files and pictures, made by chance but the same every time."""

from __future__ import annotations

import random
import struct
from pathlib import Path

__all__ = ["make_pictures", "make_texts"]

_TEXT = """
umbel flower stalk celery parsley carrot fennel dill anise lovage angelica hemlock coriander cumin seed root leaf
queue worker task message broker result retry lease schedule of the and from with many small one all
"""
_WORDS_PER_FILE = 2_000
_SIDE = 256


def make_texts(folder: Path, count: int) -> list[str]:
    """Write `count` text files; returns their paths."""
    chance = random.Random(1)
    words = _TEXT.split()
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    paths = []
    for number in range(count):
        path = folder / f"text-{number:03}.txt"
        path.write_text(" ".join(chance.choices(words, weights, k=_WORDS_PER_FILE)))
        paths.append(str(path))
    return paths


def make_pictures(folder: Path, count: int) -> list[str]:
    """Write `count` raw pictures of 256 by 256 pixels (width, height, then RGB); returns their paths."""
    chance = random.Random(2)
    paths = []
    for number in range(count):
        red, green, blue = (chance.randrange(256) for _ in range(3))
        row = b"".join(bytes(((red + x) % 256, green, (blue - x) % 256)) for x in range(_SIDE))
        path = folder / f"picture-{number:02}.raw"
        path.write_bytes(struct.pack(">II", _SIDE, _SIDE) + row * _SIDE)
        paths.append(str(path))
    return paths
