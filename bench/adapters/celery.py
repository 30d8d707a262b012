META = {
    "venv": "celery",
    "broker": "redis",
    "dists": ["celery", "kombu", "billiard", "redis", "gevent"],
    "default_profile": "prefork2",
    "profiles": {
        "prefork2": {
            "argv": ["{bin}/celery", "-A", "adapters.celery:app", "worker", "-P", "prefork", "-c", "2"]
        },
        "prefork2_tuned": {
            "argv": [
                "{bin}/celery",
                "-A",
                "adapters.celery:app",
                "worker",
                "-P",
                "prefork",
                "-c",
                "2",
                "--prefetch-multiplier",
                "128",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ]
        },
        "threads2": {
            "argv": ["{bin}/celery", "-A", "adapters.celery:app", "worker", "-P", "threads", "-c", "2"]
        },
        "threads100": {
            "argv": ["{bin}/celery", "-A", "adapters.celery:app", "worker", "-P", "threads", "-c", "100"]
        },
        "gevent100": {
            "argv": ["{bin}/celery", "-A", "adapters.celery:app", "worker", "-P", "gevent", "-c", "100"]
        },
        "solo": {"argv": ["{bin}/celery", "-A", "adapters.celery:app", "worker", "-P", "solo"]},
        # crash: documented "reliable" options, with the default 1 h visibility timeout and with a short one
        "prefork2_reliable": {
            "argv": ["{bin}/celery", "-A", "adapters.celery:app", "worker", "-P", "prefork", "-c", "2"],
            "opts": {"acks_late": True},
        },
        "prefork2_reliable_vt10": {
            "argv": ["{bin}/celery", "-A", "adapters.celery:app", "worker", "-P", "prefork", "-c", "2"],
            "opts": {"acks_late": True, "vt": 10},
        },
        # the same over RabbitMQ (results: rpc backend)
        "rabbit_prefork2": {
            "broker": "rabbitmq",
            "argv": ["{bin}/celery", "-A", "adapters.celery:app", "worker", "-P", "prefork", "-c", "2"],
            "opts": {"rabbit": 1},
        },
        "rabbit_threads2": {
            "broker": "rabbitmq",
            "argv": ["{bin}/celery", "-A", "adapters.celery:app", "worker", "-P", "threads", "-c", "2"],
            "opts": {"rabbit": 1},
        },
        "rabbit_prefork2_reliable": {
            "broker": "rabbitmq",
            "argv": ["{bin}/celery", "-A", "adapters.celery:app", "worker", "-P", "prefork", "-c", "2"],
            "opts": {"rabbit": 1, "acks_late": True},
        },
    },
    "scenario_profile": {"drain_io": "gevent100"},
    "chain": True,
    "chord": True,
}
import os  # noqa: E402

from celery import Celery, chain as _chain, chord as _chord  # noqa: E402
import benchlib as b  # noqa: E402

if b.OPTS.get("rabbit"):
    app = Celery(
        "bench", broker=f"amqp://guest:guest@127.0.0.1:{os.environ['BENCH_AMQP_PORT']}//", backend="rpc://"
    )
else:
    app = Celery("bench", broker=b.REDIS_URL, backend=f"redis://127.0.0.1:{b.REDIS_PORT}/1")
app.conf.broker_connection_retry_on_startup = True
if b.OPTS.get("acks_late"):
    app.conf.task_acks_late = True
    app.conf.task_reject_on_worker_lost = True
if b.OPTS.get("vt"):
    app.conf.broker_transport_options = {"visibility_timeout": b.OPTS["vt"]}


@app.task(ignore_result=True)
def noop(i, j, label=""):
    b.body_noop(i)


@app.task
def noop_r(i, j, label=""):
    return b.body_noop_r(i)


@app.task(ignore_result=True)
def io(i, j, label=""):
    b.body_io(i)


@app.task(ignore_result=True)
def ms(i, j, label=""):
    b.body_ms(i)


@app.task(ignore_result=True)
def mix(i, j, label=""):
    b.body_mix(i)


@app.task(ignore_result=True)
def blob(i, data):
    b.body_blob(i, data)


@app.task
def collect(results):
    return len(results)


T = {"noop": noop, "noop_r": noop_r, "io": io, "ms": ms, "mix": mix}


def enqueue(i, kind="noop"):
    return T[kind].delay(i, 7, label="abc")


def enqueue_blob(i, data):
    return blob.delay(i, data)


def enqueue_in(i, delay, kind="noop"):
    return T[kind].apply_async((i, 7), {"label": "abc"}, countdown=delay)


def result(h, timeout):
    return h.get(timeout=timeout)


def chain(n):
    assert _chain(*[noop_r.si(i, 7, label="abc") for i in range(n)])().get(timeout=60) == n - 1


def chord(n):
    assert _chord([noop_r.si(i, 7, label="abc") for i in range(n)])(collect.s()).get(timeout=60) == n
