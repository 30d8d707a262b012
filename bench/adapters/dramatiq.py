META = {
    "venv": "dramatiq",
    "broker": "redis",
    "dists": ["dramatiq", "redis"],
    "default_profile": "p2t1",
    "profiles": {
        "p2t1": {"argv": ["{bin}/dramatiq", "adapters.dramatiq", "-p", "2", "-t", "1"]},
        "p2t8": {"argv": ["{bin}/dramatiq", "adapters.dramatiq", "-p", "2", "-t", "8"]},
        "p1t8": {"argv": ["{bin}/dramatiq", "adapters.dramatiq", "-p", "1", "-t", "8"]},
        "p2t50": {"argv": ["{bin}/dramatiq", "adapters.dramatiq", "-p", "2", "-t", "50"]},
    },
    "scenario_profile": {"drain_io": "p2t50"},
    "chain": True,
    "chord": True,
}
import dramatiq  # noqa: E402
from dramatiq import group, pipeline  # noqa: E402
from dramatiq.brokers.redis import RedisBroker  # noqa: E402
from dramatiq.middleware import GroupCallbacks  # noqa: E402
from dramatiq.rate_limits.backends import RedisBackend as RateBackend  # noqa: E402
from dramatiq.results import Results  # noqa: E402
from dramatiq.results.backends import RedisBackend  # noqa: E402
import benchlib as b  # noqa: E402

broker = RedisBroker(url=b.REDIS_URL)
backend = RedisBackend(url=f"redis://127.0.0.1:{b.REDIS_PORT}/1")
broker.add_middleware(Results(backend=backend))
broker.add_middleware(GroupCallbacks(RateBackend(url=f"redis://127.0.0.1:{b.REDIS_PORT}/2")))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(i, j, label=""):
    b.body_noop(i)


@dramatiq.actor(store_results=True)
def noop_r(i, j, label=""):
    return b.body_noop_r(i)


@dramatiq.actor
def io(i, j, label=""):
    b.body_io(i)


@dramatiq.actor
def ms(i, j, label=""):
    b.body_ms(i)


@dramatiq.actor
def mix(i, j, label=""):
    b.body_mix(i)


T = {"noop": noop, "noop_r": noop_r, "io": io, "ms": ms, "mix": mix}


def enqueue(i, kind="noop"):
    return T[kind].send(i, 7, label="abc")


def enqueue_in(i, delay, kind="noop"):
    return T[kind].send_with_options(args=(i, 7), kwargs={"label": "abc"}, delay=int(delay * 1000))


def result(h, timeout):
    return h.get_result(block=True, timeout=int(timeout * 1000))


def chain(n):
    p = pipeline(
        [
            noop_r.message_with_options(args=(i, 7), kwargs={"label": "abc"}, pipe_ignore=True)
            for i in range(n)
        ]
    )
    assert p.run().get_result(block=True, timeout=60000) == n - 1


def chord(n):
    g = group([noop_r.message(i, 7, label="abc") for i in range(n)])
    cb = noop_r.message(1500, 7, label="abc")
    g.add_completion_callback(cb)
    g.run()
    assert cb.get_result(block=True, timeout=60000) == 1500
