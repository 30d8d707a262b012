"""Task-side and producer-side helpers. Standard library only; imported inside every peer's venv.

A run directory (env BENCH_RUN_DIR) holds two shared files made by run.py:
  slots.bin  N x 16 bytes: (int64 monotonic ns of first execution, int64 executions). mmap, ~0.3 us per record.
  log.bin    append-only 24-byte records (int64 id, int64 monotonic ns, int32 pid, int32 phase): the crash scenario.
CLOCK_MONOTONIC is one clock for all processes of the machine, so producer and worker times compare directly.
"""

import json
import mmap
import os
import struct
import time

RUN_DIR = os.environ.get("BENCH_RUN_DIR")
DISK_DIR = os.environ.get("BENCH_DISK_DIR", "")  # a directory of this run on disk, not in shared memory
REDIS_PORT = int(os.environ.get("BENCH_REDIS_PORT", "6390"))
REDIS_URL = f"redis://127.0.0.1:{REDIS_PORT}/0"
PG_DSN = os.environ.get("BENCH_PG_DSN", "")  # postgresql://bench@127.0.0.1:PORT/DB
SCENARIO = os.environ.get("BENCH_SCENARIO", "")
PROFILE = os.environ.get("BENCH_PROFILE", "")
OPTS = json.loads(os.environ.get("BENCH_OPTS", "{}"))  # the profile's "opts" from META

MS = float(os.environ.get("BENCH_MS", "0.001"))  # what a task of kind "ms" sleeps
LONG = float(os.environ.get("BENCH_LONG", "1"))  # what a long task of the fairness scenario sleeps

_now = time.monotonic_ns
_q2 = struct.Struct("<qq")
_rec = struct.Struct("<qqii")
_mm = None
_log = -1
if RUN_DIR and os.path.exists(os.path.join(RUN_DIR, "slots.bin")):
    _fd = os.open(os.path.join(RUN_DIR, "slots.bin"), os.O_RDWR)
    _mm = mmap.mmap(_fd, 0)
    os.close(_fd)
    _log = os.open(os.path.join(RUN_DIR, "log.bin"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def rec(i):
    """Record that task i started executing."""
    if _mm is None:
        return
    off = i * 16
    t, c = _q2.unpack_from(_mm, off)
    _q2.pack_into(_mm, off, t or _now(), c + 1)


def log(i, phase):
    if _log >= 0:
        os.write(_log, _rec.pack(i, _now(), os.getpid(), phase))


# ---- task bodies, shared by all adapters -------------------------------------------------------------------------
def body_noop(i):
    rec(i)


def body_noop_r(i):
    rec(i)
    return i


def body_io(i):
    rec(i)
    time.sleep(0.010)


async def abody_io(i):
    import asyncio

    rec(i)
    await asyncio.sleep(0.010)


def body_ms(i):
    log(i, 0)
    rec(i)
    time.sleep(MS)
    log(i, 1)


async def abody_ms(i):
    import asyncio

    log(i, 0)
    rec(i)
    await asyncio.sleep(MS)
    log(i, 1)


def is_long(i):
    """Whether task i of the fairness scenario is one of the 1 % that sleep for LONG seconds."""
    return i % 100 == 50


def body_mix(i):
    log(i, 0)
    rec(i)
    if is_long(i):
        time.sleep(LONG)
    log(i, 1)


def body_blob(i, data):
    """The payload scenario: `data` has travelled and been decoded; nothing is done with it."""
    rec(i)


def started(i):
    """Whether task i has started: for a producer that keeps the queue short."""
    return _q2.unpack_from(_mm, i * 16)[1] > 0
