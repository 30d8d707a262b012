"""The tasks of the chaos suite: ``-A chaos.jobs``. Each tells the ledger when it starts and when it has finished."""

from __future__ import annotations

import asyncio
import os
import pathlib
import time

from chaos.events import FINISHED, STARTED, Writer
from umbel import Umbel

PAUSE = 0.005
"""Between two looks for a gate."""

app = Umbel("chaos")
directory = pathlib.Path(os.environ["JOBS_DIR"])
ledger = Writer(directory)


@app.task
def work(number: int, seconds: float = 0.0) -> int:
    """Take so long; the answer is the number."""
    ledger.write(STARTED, number)
    if seconds:
        time.sleep(seconds)
    ledger.write(FINISHED, number)
    return number


@app.task
def wait(number: int, gate: str) -> int:
    """Take until the test has made a file of that name."""
    ledger.write(STARTED, number)
    while not (directory / gate).exists():
        time.sleep(PAUSE)
    ledger.write(FINISHED, number)
    return number


@app.task
async def work_async(number: int, seconds: float = 0.0) -> int:
    """``work`` for pools of coroutines."""
    ledger.write(STARTED, number)
    await asyncio.sleep(seconds)
    ledger.write(FINISHED, number)
    return number
