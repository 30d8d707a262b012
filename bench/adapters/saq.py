META = {
    "venv": "saq",
    "broker": "redis",
    "dists": ["saq", "redis"],
    "default_profile": "w2c100",
    "profiles": {
        "w1c10": {"argv": ["{bin}/saq", "adapters.saq.settings"], "opts": {"c": 10}},
        "w1c100": {"argv": ["{bin}/saq", "adapters.saq.settings"], "opts": {"c": 100}},
        "w2c10": {"argv": ["{bin}/saq", "adapters.saq.settings", "--workers", "2"], "opts": {"c": 10}},
        "w2c100": {"argv": ["{bin}/saq", "adapters.saq.settings", "--workers", "2"], "opts": {"c": 100}},
        # documented: heartbeat + retries let the sweeper requeue a dead worker's jobs
        "w2c10_reliable": {
            "argv": ["{bin}/saq", "adapters.saq.settings", "--workers", "2"],
            "opts": {"c": 10, "retries": 3, "timeout": 10, "sweep": 5},
        },
    },
}
import asyncio  # noqa: E402
import time  # noqa: E402

from saq import Queue  # noqa: E402
import benchlib as b  # noqa: E402

queue = Queue.from_url(b.REDIS_URL)


async def noop(ctx, *, i, j, label=""):
    b.body_noop(i)


async def noop_r(ctx, *, i, j, label=""):
    return b.body_noop_r(i)


async def io(ctx, *, i, j, label=""):
    await b.abody_io(i)


async def ms(ctx, *, i, j, label=""):
    await b.abody_ms(i)


settings = {"queue": queue, "functions": [noop, noop_r, io, ms], "concurrency": b.OPTS.get("c", 10)}
if b.OPTS.get("sweep"):
    settings["timers"] = {"sweep": b.OPTS["sweep"]}
TTL = {"noop": -1, "noop_r": 600, "io": -1, "ms": -1}
KW = {k: b.OPTS[k] for k in ("retries", "timeout") if k in b.OPTS}


async def setup():
    await queue.connect()


async def teardown():
    await queue.disconnect()


async def enqueue(i, kind="noop"):
    return await queue.enqueue(kind, i=i, j=7, label="abc", ttl=TTL[kind], **KW)


async def enqueue_in(i, delay, kind="noop"):
    return await queue.enqueue(
        kind, i=i, j=7, label="abc", ttl=TTL[kind], scheduled=int(time.time() + delay), **KW
    )


async def result(h, timeout):
    # It asks, then subscribes: what ends in between is never heard of. So it asks again after 20 ms.
    end = time.monotonic() + timeout
    while True:
        try:
            await h.refresh(until_complete=0.02)
            return h.result
        except asyncio.TimeoutError:
            if time.monotonic() > end:
                raise
