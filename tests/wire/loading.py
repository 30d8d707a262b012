"""Reads the captured messages and records beside this file."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "vectors"


def _read(name: str) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads(gzip.decompress((HERE / f"{name}.json.gz").read_bytes()))
    return vectors


def entries() -> list[tuple[str, bytes]]:
    """Every queue entry as (name of the vector and number, bytes)."""
    return [
        (f"{vector['name']}-{number}", entry.encode())
        for name in ("redis_messages", "redis_worker_messages")
        for vector in _read(name)
        for number, entry in enumerate(vector["entries"])
    ]


def entry(name: str, number: int = 0) -> bytes:
    """One queue entry by the name of its vector."""
    return dict(entries())[f"{name}-{number}"]


def refusals() -> dict[str, dict[str, str]]:
    """Calls that Celery refused: name of the vector to the exception."""
    return {v["name"]: v["raises"] for v in _read("redis_messages") if v["raises"]}


def records() -> list[tuple[str, bytes]]:
    """Every stored record as (name of the vector and number, bytes)."""
    return [
        (
            f"{vector['name']}-{number}",
            base64.b64decode(raw["b64"]) if isinstance(raw, dict) else raw.encode(),
        )
        for vector in _read("redis_results")
        for number, raw in enumerate(vector["records"])
    ]


def record(name: str, number: int = 0) -> bytes:
    """One stored record by the name of its vector."""
    return dict(records())[f"{name}-{number}"]
