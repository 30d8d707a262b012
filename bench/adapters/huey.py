META = {
    "venv": "huey",
    "broker": "redis",
    "dists": ["huey", "redis"],
    "default_profile": "process2",
    "profiles": {
        "process2": {"argv": ["{bin}/huey_consumer", "adapters.huey.huey", "-k", "process", "-w", "2", "-q"]},
        "thread2": {"argv": ["{bin}/huey_consumer", "adapters.huey.huey", "-k", "thread", "-w", "2", "-q"]},
        "thread100": {
            "argv": ["{bin}/huey_consumer", "adapters.huey.huey", "-k", "thread", "-w", "100", "-q"]
        },
        # huey's consumer does not monkey-patch by itself
        "greenlet100": {
            "argv": [
                "{py}",
                "-c",
                "from gevent import monkey; monkey.patch_all(); "
                "from huey.bin.huey_consumer import consumer_main; consumer_main()",
                "adapters.huey.huey",
                "-k",
                "greenlet",
                "-w",
                "100",
                "-q",
            ]
        },
    },
    "scenario_profile": {"drain_io": "greenlet100"},
    "chain": True,
    "chord": True,
}
from huey import RedisHuey, chord as _chord  # noqa: E402
import benchlib as b  # noqa: E402

# notify_result: get(blocking=True) uses BLPOP instead of polling (documented option); only where results are awaited
huey = RedisHuey("bench", url=b.REDIS_URL, notify_result=b.SCENARIO in ("roundtrip", "canvas"))


@huey.task()
def noop(i, j, label=""):
    b.body_noop(i)  # returns None, which huey does not store


@huey.task()
def noop_r(i, j, label=""):
    return b.body_noop_r(i)


@huey.task()
def io(i, j, label=""):
    b.body_io(i)


@huey.task()
def ms(i, j, label=""):
    b.body_ms(i)


@huey.task()
def mix(i, j, label=""):
    b.body_mix(i)


@huey.task()
def blob(i, data):
    b.body_blob(i, data)


@huey.task()
def step(x):
    return x + 1


@huey.task()
def collect(results):
    return len(results)


T = {"noop": noop, "noop_r": noop_r, "io": io, "ms": ms, "mix": mix}


def enqueue(i, kind="noop"):
    return T[kind](i, 7, label="abc")


def enqueue_blob(i, data):
    return blob(i, data)


def enqueue_in(i, delay, kind="noop"):
    return T[kind].schedule(args=(i, 7), kwargs={"label": "abc"}, delay=delay)


def result(h, timeout):
    return h.get(blocking=True, timeout=timeout)


def chain(n):
    t = step.s(0)
    for i in range(n - 1):
        t = t.then(step)
    rs = huey.enqueue(t)
    assert rs[-1] == n  # indexing a ResultGroup blocks for that result


def chord(n):
    r = huey.enqueue(_chord([noop_r.s(i, 7, label="abc") for i in range(n)], collect.s()))
    assert r.get(blocking=True, timeout=60) == n
