META = {
    "venv": "streaq",
    "broker": "redis",
    "dists": ["streaq", "coredis", "anyio", "uvloop"],
    "default_profile": "w2c100",
    "profiles": {
        "w1c16": {"argv": ["{bin}/streaq", "run", "adapters.streaq:worker"], "opts": {"c": 16}},
        "w1c100": {"argv": ["{bin}/streaq", "run", "adapters.streaq:worker"], "opts": {"c": 100}},
        "w2c100": {"argv": ["{bin}/streaq", "run", "-w", "2", "adapters.streaq:worker"], "opts": {"c": 100}},
        "w2c16": {"argv": ["{bin}/streaq", "run", "-w", "2", "adapters.streaq:worker"], "opts": {"c": 16}},
        "w2c16_idle10": {
            "argv": ["{bin}/streaq", "run", "-w", "2", "adapters.streaq:worker"],
            "opts": {"c": 16, "idle": 10},
        },
    },
    "chain": True,
}
from datetime import timedelta  # noqa: E402

from streaq import Worker  # noqa: E402
import benchlib as b  # noqa: E402

KW = {"idle_timeout": b.OPTS["idle"]} if "idle" in b.OPTS else {}
worker = Worker(
    redis_url=b.REDIS_URL, concurrency=b.OPTS.get("c", 16), anyio_kwargs={"use_uvloop": True}, **KW
)


@worker.task(ttl=0, silent=True)
async def noop(i: int, j: int, label: str = "") -> None:
    b.body_noop(i)


@worker.task(silent=True)
async def noop_r(i: int, j: int, label: str = "") -> int:
    return b.body_noop_r(i)


@worker.task(ttl=0, silent=True)
async def io(i: int, j: int, label: str = "") -> None:
    await b.abody_io(i)


@worker.task(ttl=0, silent=True)
async def ms(i: int, j: int, label: str = "") -> None:
    await b.abody_ms(i)


@worker.task(silent=True)
async def step(x: int) -> int:
    return x + 1


T = {"noop": noop, "noop_r": noop_r, "io": io, "ms": ms}
_cm = None


async def setup():
    global _cm
    _cm = worker
    await _cm.__aenter__()


async def teardown():
    await _cm.__aexit__(None, None, None)


async def enqueue(i, kind="noop"):
    return await T[kind].enqueue(i, 7, label="abc")


async def enqueue_bulk(ids, kind="noop"):
    f = T[kind]
    await worker.enqueue_many([f.enqueue(i, 7, label="abc") for i in ids])


async def enqueue_in(i, delay, kind="noop"):
    return await T[kind].enqueue(i, 7, label="abc").start(delay=timedelta(seconds=delay))


async def result(h, timeout):
    return (await h.result(int(timeout))).result


async def chain(n):
    t = step.enqueue(0)
    for _ in range(n - 1):
        t = t.then(step)
    await t
    assert (await t.result(60)).result == n
