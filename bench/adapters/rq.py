META = {
    "venv": "rq",
    "broker": "redis",
    "dists": ["rq", "redis"],
    "default_profile": "pool2",
    "profiles": {
        "pool2": {"argv": ["{bin}/rq", "worker-pool", "-q", "-n", "2", "-u", "{redis_url}", "default"]},
        "pool2_simple": {
            "argv": [
                "{bin}/rq",
                "worker-pool",
                "-q",
                "-n",
                "2",
                "-w",
                "rq.worker.SimpleWorker",
                "-u",
                "{redis_url}",
                "default",
            ]
        },
        "pool16_simple": {
            "argv": [
                "{bin}/rq",
                "worker-pool",
                "-q",
                "-n",
                "16",
                "-w",
                "rq.worker.SimpleWorker",
                "-u",
                "{redis_url}",
                "default",
            ]
        },
        "sched2": {
            "argv": [
                ["{bin}/rq", "worker", "-q", "--with-scheduler", "-u", "{redis_url}", "default"],
                ["{bin}/rq", "worker", "-q", "--with-scheduler", "-u", "{redis_url}", "default"],
            ]
        },
    },
    "scenario_profile": {"drain_io": "pool16_simple", "eta": "sched2"},
    "n": {"pool2:drain": 2000, "pool2:drain_results": 2000},
}
from datetime import timedelta  # noqa: E402

from redis import Redis  # noqa: E402
from rq import Queue  # noqa: E402
import benchlib as b  # noqa: E402


def noop(i, j, label=""):
    b.body_noop(i)


def noop_r(i, j, label=""):
    return b.body_noop_r(i)


def io(i, j, label=""):
    b.body_io(i)


def ms(i, j, label=""):
    b.body_ms(i)


T = {"noop": (noop, 0), "noop_r": (noop_r, 500), "io": (io, 0), "ms": (ms, 0)}
q = Queue("default", connection=Redis.from_url(b.REDIS_URL))


def enqueue(i, kind="noop"):
    f, ttl = T[kind]
    return q.enqueue(f, args=(i, 7), kwargs={"label": "abc"}, result_ttl=ttl)


def enqueue_bulk(ids, kind="noop"):
    f, ttl = T[kind]
    q.enqueue_many([Queue.prepare_data(f, args=(i, 7), kwargs={"label": "abc"}, result_ttl=ttl) for i in ids])


def enqueue_in(i, delay, kind="noop"):
    f, ttl = T[kind]
    return q.enqueue_in(timedelta(seconds=delay), f, args=(i, 7), kwargs={"label": "abc"}, result_ttl=ttl)


def result(h, timeout):
    return h.latest_result(timeout=int(timeout)).return_value
