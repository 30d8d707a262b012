"""Runs inside a peer's venv: imports adapters.NAME, performs one producer-side operation, prints one JSON line.

An adapter may define the functions as plain or as `async def`; everything here works with both.
"""

import argparse
import asyncio
import importlib
import inspect
import json
import sys
import time

import benchlib

ns = time.monotonic_ns


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--system", required=True)
    ap.add_argument("--op", required=True)
    ap.add_argument("--kind", default="noop")
    ap.add_argument("--n", type=int, default=1000)
    ap.add_argument("--start", type=int, default=0)
    ap.add_argument("--delay", type=float, default=0)
    ap.add_argument("--interval", type=float, default=0.05)
    ap.add_argument("--size", type=int, default=100)
    ap.add_argument("--window", type=int, default=20000)
    a = ap.parse_args()
    m = importlib.import_module("adapters." + a.system)
    is_async = inspect.iscoroutinefunction(m.enqueue)

    async def call(f, *args):
        r = f(*args)
        return await r if inspect.isawaitable(r) else r

    out = {}

    def loop_sync(n, start):
        enq, kind = m.enqueue, a.kind
        t0 = ns()
        for i in range(start, start + n):
            enq(i, kind)
        return ns() - t0

    async def loop_async(n, start):
        enq, kind = m.enqueue, a.kind
        t0 = ns()
        for i in range(start, start + n):
            await enq(i, kind)
        return ns() - t0

    async def go():
        if hasattr(m, "setup"):
            await call(m.setup)
        n, start = a.n, a.start
        if a.op == "enqueue":
            warm = min(50, n // 10)
            if is_async:
                await loop_async(warm, start)
                dt = await loop_async(n - warm, start + warm)
            else:
                loop_sync(warm, start)
                dt = loop_sync(n - warm, start + warm)
            out.update(n=n - warm, seconds=dt / 1e9, rate=(n - warm) / (dt / 1e9))
        elif a.op == "enqueue_bulk":
            await call(m.enqueue_bulk, list(range(start, start + 10)), a.kind)
            t0 = ns()
            for lo in range(start + 10, start + n, 1000):
                await call(m.enqueue_bulk, list(range(lo, min(lo + 1000, start + n))), a.kind)
            dt = ns() - t0
            out.update(n=n - 10, seconds=dt / 1e9, rate=(n - 10) / (dt / 1e9))
        elif a.op == "fill":  # untimed preload, the fastest way the adapter has
            t0 = ns()
            if hasattr(m, "enqueue_bulk"):
                for lo in range(start, start + n, 1000):
                    await call(m.enqueue_bulk, list(range(lo, min(lo + 1000, start + n))), a.kind)
            elif is_async:
                await loop_async(n, start)
            else:
                loop_sync(n, start)
            out.update(n=n, seconds=(ns() - t0) / 1e9, t_last=ns())
        elif a.op == "feed":  # bulk calls, but never more than `window` tasks ahead of the worker
            t0 = ns()
            for lo in range(start, start + n, 1000):
                while lo - a.window >= start and not benchlib.started(lo - a.window):
                    time.sleep(0.002)
                await call(m.enqueue_bulk, list(range(lo, min(lo + 1000, start + n))), a.kind)
            out.update(n=n, seconds=(ns() - t0) / 1e9)
        elif a.op == "blobs":
            data = "x" * a.size
            t0 = ns()
            for i in range(start, start + n):
                await call(m.enqueue_blob, i, data)
            out.update(n=n, seconds=(ns() - t0) / 1e9, rate=n / ((ns() - t0) / 1e9))
        elif a.op == "fill_eta_bulk":
            t0 = ns()
            for lo in range(start, start + n, 1000):
                await call(m.enqueue_in_bulk, list(range(lo, min(lo + 1000, start + n))), a.delay, a.kind)
            out.update(n=n, seconds=(ns() - t0) / 1e9)
        elif a.op == "fill_eta":
            t0 = ns()
            for i in range(start, start + n):
                await call(m.enqueue_in, i, a.delay, a.kind)
            out.update(n=n, seconds=(ns() - t0) / 1e9, t_last=ns())
        elif a.op == "roundtrip":
            lat = []
            for i in range(start, start + n):
                t0 = ns()
                h = await call(m.enqueue, i, "noop_r")
                r = await call(m.result, h, 30)
                lat.append(ns() - t0)
                assert r == i, (r, i)
            out["lat_ns"] = lat
        elif a.op == "pickup":
            sent = []
            nxt = ns()
            for i in range(start, start + n):
                sent.append(ns())
                await call(m.enqueue, i, a.kind)
                nxt += int(a.interval * 1e9)
                d = (nxt - ns()) / 1e9
                if d > 0:
                    await asyncio.sleep(d) if is_async else time.sleep(d)
            out["sent_ns"] = sent
        elif a.op == "chain":
            t0 = ns()
            await call(m.chain, n)
            out["seconds"] = (ns() - t0) / 1e9
        elif a.op == "chord":
            t0 = ns()
            await call(m.chord, n)
            out["seconds"] = (ns() - t0) / 1e9
        else:
            raise SystemExit("unknown op " + a.op)
        if hasattr(m, "teardown"):
            await call(m.teardown)

    if is_async:
        try:
            import uvloop

            uvloop.run(go())
        except ImportError:
            asyncio.run(go())
    else:
        # no event loop around synchronous systems (some refuse to run inside one)
        coro = go()
        try:
            coro.send(None)
        except StopIteration:
            pass
        else:
            raise RuntimeError("sync adapter awaited something")
    sys.stdout.write("\nBENCHJSON " + json.dumps(out) + "\n")
    sys.stdout.flush()


main()
