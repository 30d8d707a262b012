"""Celery's helper modules: the same answers with Umbel in its place."""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any

import pytest

from interop.surface_utils import PROGRAMS
from interop.test_as_celery import UMBEL, run

SCRIPT = pathlib.Path(__file__).parent / "surface_utils.py"


@functools.cache
def surface(engine: tuple[str, ...]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run(*engine, str(SCRIPT)))
    return report


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_helper_gives_the_same(name: str) -> None:
    with_celery = surface(())[name]
    assert not (isinstance(with_celery, list) and "ModuleNotFoundError" in map(str, with_celery)), with_celery
    assert surface(UMBEL)[name] == with_celery
