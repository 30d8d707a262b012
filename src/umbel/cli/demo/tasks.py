"""The tasks of ``umbel demo``: an app on the embedded default, which is a SQLite file and needs no server."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections import Counter
from pathlib import Path

from umbel import Umbel
from umbel.task import Task

app = Umbel("demo")


@app.task
def count_words(path: str) -> dict[str, int]:
    """How often each word occurs in a text file."""
    return dict(Counter(Path(path).read_text().split()))


@app.task
def thumbnail(path: str, size: int = 64) -> str:
    """Shrink a raw picture (width, height, then RGB) to `size` pixels a side, and save it as PNG."""
    data = Path(path).read_bytes()
    width, height = struct.unpack(">II", data[:8])
    rows = []
    for y in range(size):
        start = 8 + (y * height // size) * width * 3
        pixels = [data[start + (x * width // size) * 3 :][:3] for x in range(size)]
        rows.append(b"\0" + b"".join(pixels))
    target = Path(path).with_suffix(".png")
    target.write_bytes(_png(size, zlib.compress(b"".join(rows), 9)))
    return target.name


def _png(size: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@app.task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=0.5, retry_jitter=False, max_retries=5)
def fetch_rates(self: Task[..., str]) -> str:
    """Fails twice, as a busy server does; Umbel sends it again after 0.5 s and after 1 s."""
    if self.request.retries < 2:
        raise ConnectionError("the server is busy")
    return f"fetched at attempt {self.request.retries + 1}"


@app.task
async def ask_many(count: int) -> str:
    """A coroutine: all its waiting happens at the same time."""

    async def ask(number: int) -> int:
        await asyncio.sleep(0.3)
        return number

    answers = await asyncio.gather(*(ask(number) for number in range(count)))
    return f"{len(answers)} answers, each 0.3 s away"


@app.task
def divide(x: int, y: int) -> float:
    """Fails for good when `y` is 0: the caller gets the ZeroDivisionError."""
    return x / y
