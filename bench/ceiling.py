#!/usr/bin/env python3
"""What Redis and CPython allow on this machine. Run with the `bare` venv's python (redis-py + hiredis [+ orjson]):
   flock <tmp>/bench.lock <venvs>/bare/bin/python bench/ceiling.py   -> JSON lines {"what", "per_s"}
Starts and stops its own redis-server on BENCH_REDIS_PORT (default 6390)."""

import json
import multiprocessing as mp
import os
import re
import statistics
import subprocess
import tempfile
import time

import redis

try:
    import orjson
except ImportError:
    orjson = None
PORT = int(os.environ.get("BENCH_REDIS_PORT", "6390"))
REPS = int(os.environ.get("BENCH_REPS", "3"))
PAYLOAD = {
    "id": "0123456789abcdef0123456789abcdef",
    "task": "app.noop",
    "args": [1, 7],
    "kwargs": {"label": "abc"},
}


def noop(i, j, label=""):
    return None


TASKS = {"app.noop": noop}
POP = """
local b = redis.call('LRANGE', KEYS[1], -tonumber(ARGV[1]), -1)
local n = #b
if n == 0 then return b end
redis.call('LTRIM', KEYS[1], 0, -n - 1)
local h = {}
for i = 1, n do h[2*i-1] = ARGV[2] .. ':' .. i; h[2*i] = b[i] end
redis.call('HSET', KEYS[2], unpack(h))
return b
"""


def fill(r, n, key="q"):
    p = r.pipeline(transaction=False)
    s = json.dumps(PAYLOAD)
    for k in range(n):
        p.lpush(key, s)
        if k % 1000 == 999:
            p.execute()
    p.execute()


def worker_loop(batch, loads, results, out=None, barrier=None):
    """Pop `batch` with Lua into an in-flight hash; decode; call; ack the batch and pop the next one in one pipeline."""
    r = redis.Redis(port=PORT)
    sha = r.script_load(POP)
    if barrier:
        barrier.wait()
    t0 = time.perf_counter()
    done, tag = 0, 0
    me = str(os.getpid())
    items = r.evalsha(sha, 2, "q", "inflight", batch, f"{me}.{tag}")
    while items:
        ids = []
        p = r.pipeline(transaction=False)
        for k, raw in enumerate(items, 1):
            m = loads(raw)
            v = TASKS[m["task"]](*m["args"], **m["kwargs"])
            ids.append(f"{me}.{tag}:{k}")
            if results:
                p.set("res:" + m["id"] + ids[-1], json.dumps({"ok": v}), ex=3600)
        p.hdel("inflight", *ids)
        done += len(items)
        tag += 1
        p.evalsha(sha, 2, "q", "inflight", batch, f"{me}.{tag}")
        items = p.execute()[-1]
    dt = time.perf_counter() - t0
    if out is not None:
        out.put((done, t0, t0 + dt))
    return done / dt


def one_by_one(n):
    r = redis.Redis(port=PORT)
    t0 = time.perf_counter()
    k = 0
    while True:
        v = r.brpop("q", timeout=1) if k < n else None
        if v is None:
            break
        m = json.loads(v[1])
        TASKS[m["task"]](*m["args"], **m["kwargs"])
        k += 1
    return k / (time.perf_counter() - t0)


def two_procs(batch, loads, results):
    q, b = mp.Queue(), mp.Barrier(2)
    ps = [mp.Process(target=worker_loop, args=(batch, loads, results, q, b)) for _ in range(2)]
    [p.start() for p in ps]
    rs = [q.get() for _ in ps]
    [p.join() for p in ps]
    return sum(r[0] for r in rs) / (max(r[2] for r in rs) - min(r[1] for r in rs))


def push_single(n):
    r = redis.Redis(port=PORT)
    t0 = time.perf_counter()
    for k in range(n):
        r.lpush("q", json.dumps(PAYLOAD))
    return n / (time.perf_counter() - t0)


def push_async(n, concurrency):
    import asyncio

    import redis.asyncio as aredis
    import uvloop

    async def go():
        r = aredis.Redis(port=PORT, max_connections=concurrency)
        await r.ping()

        async def one(k):
            for _ in range(k):
                await r.lpush("q", json.dumps(PAYLOAD))

        t0 = time.perf_counter()
        await asyncio.gather(*[one(n // concurrency) for _ in range(concurrency)])
        dt = time.perf_counter() - t0
        await r.aclose()
        return n / dt

    return uvloop.run(go())


def push_pipe(n, batch):
    r = redis.Redis(port=PORT)
    t0 = time.perf_counter()
    for lo in range(0, n, batch):
        p = r.pipeline(transaction=False)
        for _ in range(batch):
            p.lpush("q", json.dumps(PAYLOAD))
        p.execute()
    return n / (time.perf_counter() - t0)


def push_variadic(n, batch):
    r = redis.Redis(port=PORT)
    t0 = time.perf_counter()
    for lo in range(0, n, batch):
        r.lpush("q", *[json.dumps(PAYLOAD) for _ in range(batch)])
    return n / (time.perf_counter() - t0)


def push_raw_socket(n, batch):
    """No client library: hand-built RESP on a socket, `batch` commands per send."""
    import socket

    s = socket.create_connection(("127.0.0.1", PORT))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    t0 = time.perf_counter()
    for lo in range(0, n, batch):
        parts = []
        for _ in range(batch):
            d = json.dumps(PAYLOAD).encode()
            parts.append(b"*3\r\n$5\r\nLPUSH\r\n$1\r\nq\r\n$%d\r\n%b\r\n" % (len(d), d))
        s.sendall(b"".join(parts))
        got = 0
        while got < batch:
            got += s.recv(65536).count(b"\r\n")
    return n / (time.perf_counter() - t0)


def redis_benchmark(P, test, n):
    o = subprocess.run(
        [
            "redis-benchmark",
            "-p",
            str(PORT),
            "-P",
            str(P),
            "-n",
            str(n),
            "-t",
            test,
            "-q",
            "-d",
            "120",
            "--csv",
        ],
        capture_output=True,
        text=True,
    ).stdout
    return float(re.findall(r'^"%s[^"]*","([\d.]+)"' % test.upper(), o, re.M)[0])


def main():
    srv = subprocess.Popen(
        [
            "redis-server",
            "--port",
            str(PORT),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            tempfile.gettempdir(),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    r = redis.Redis(port=PORT)
    for _ in range(100):
        try:
            r.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.05)

    def m(what, f, prep=0):
        v = []
        for _ in range(REPS):
            r.flushall()
            if prep:
                fill(r, prep)
            v.append(f())
        print(
            json.dumps(
                {
                    "what": what,
                    "per_s": round(statistics.median(v)),
                    "min": round(min(v)),
                    "max": round(max(v)),
                }
            ),
            flush=True,
        )

    try:
        m("redis-benchmark LPUSH -P 1 (50 clients)", lambda: redis_benchmark(1, "lpush", 100000))
        m("redis-benchmark RPOP -P 1 (50 clients)", lambda: redis_benchmark(1, "rpop", 100000))
        m("redis-benchmark LPUSH -P 64", lambda: redis_benchmark(64, "lpush", 1000000))
        m("redis-benchmark RPOP -P 64", lambda: redis_benchmark(64, "rpop", 1000000))
        m("redis-py+hiredis: json.dumps + LPUSH, one at a time", lambda: push_single(20000))
        m("redis.asyncio+hiredis+uvloop: json.dumps + LPUSH, one at a time", lambda: push_async(10000, 1))
        m("redis.asyncio+hiredis+uvloop: the same, 20 coroutines", lambda: push_async(10000, 20))
        m("redis-py+hiredis: json.dumps + LPUSH, pipelines of 100", lambda: push_pipe(50000, 100))
        m("redis-py+hiredis: json.dumps, variadic LPUSH of 100", lambda: push_variadic(100000, 100))
        m("raw socket: json.dumps + LPUSH, one at a time", lambda: push_raw_socket(20000, 1))
        m("raw socket: json.dumps + LPUSH, 100 per send", lambda: push_raw_socket(100000, 100))
        m(
            "redis-py+hiredis: BRPOP + json.loads + call, one at a time, no ack",
            lambda: one_by_one(20000),
            20000,
        )
        for name, loads in (("json", json.loads), ("orjson", orjson and orjson.loads)):
            if loads:
                m(
                    f"pop-100 Lua + {name} + call + ack, 1 process",
                    lambda: worker_loop(100, loads, False),
                    100000,
                )
                m(
                    f"pop-100 Lua + {name} + call + ack + result SET, 1 process",
                    lambda: worker_loop(100, loads, True),
                    50000,
                )
                m(
                    f"pop-100 Lua + {name} + call + ack, 2 processes",
                    lambda: two_procs(100, loads, False),
                    100000,
                )
        m("pop-1 Lua + json + call + ack, 1 process", lambda: worker_loop(1, json.loads, False), 20000)
        m("pop-10 Lua + json + call + ack, 1 process", lambda: worker_loop(10, json.loads, False), 50000)
        m(
            "pop-100 Lua + json + call + ack + result SET, 2 processes",
            lambda: two_procs(100, json.loads, True),
            50000,
        )
    finally:
        srv.kill()
        srv.wait()


main()
