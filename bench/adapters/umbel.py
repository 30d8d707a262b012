META = {
    "venv": "umbel",
    "broker": "redis",
    "dists": ["umbel", "hiredis", "uvloop", "msgspec", "apsw"],
    "default_profile": "prefork2",
    "profiles": {
        "prefork2": {
            "argv": ["{bin}/umbel", "-A", "adapters.umbel:app", "worker", "-P", "prefork", "-c", "2"],
            "children": 2,
        },
        # curves: children of one worker, and workers ("copies" of one command, {k} is the number of the copy)
        "prefork1": {
            "argv": ["{bin}/umbel", "-A", "adapters.umbel:app", "worker", "-P", "prefork", "-c", "1"],
            "children": 1,
        },
        "prefork4": {
            "argv": ["{bin}/umbel", "-A", "adapters.umbel:app", "worker", "-P", "prefork", "-c", "4"],
            "children": 4,
        },
        "prefork8": {
            "argv": ["{bin}/umbel", "-A", "adapters.umbel:app", "worker", "-P", "prefork", "-c", "8"],
            "children": 8,
        },
        "nodes1": {
            "argv": [
                "{bin}/umbel",
                "-A",
                "adapters.umbel:app",
                "worker",
                "-P",
                "prefork",
                "-c",
                "1",
                "-n",
                "n{k}@%h",
            ],
            "copies": 1,
            "children": 1,
        },
        "nodes2": {
            "argv": [
                "{bin}/umbel",
                "-A",
                "adapters.umbel:app",
                "worker",
                "-P",
                "prefork",
                "-c",
                "1",
                "-n",
                "n{k}@%h",
            ],
            "copies": 2,
            "children": 2,
        },
        "nodes4": {
            "argv": [
                "{bin}/umbel",
                "-A",
                "adapters.umbel:app",
                "worker",
                "-P",
                "prefork",
                "-c",
                "1",
                "-n",
                "n{k}@%h",
            ],
            "copies": 4,
            "children": 4,
        },
        "nodes7": {
            "argv": [
                "{bin}/umbel",
                "-A",
                "adapters.umbel:app",
                "worker",
                "-P",
                "prefork",
                "-c",
                "1",
                "-n",
                "n{k}@%h",
            ],
            "copies": 7,
            "children": 7,
        },
        "nodes10": {
            "argv": [
                "{bin}/umbel",
                "-A",
                "adapters.umbel:app",
                "worker",
                "-P",
                "prefork",
                "-c",
                "1",
                "-n",
                "n{k}@%h",
            ],
            "copies": 10,
            "children": 10,
        },
        "threads2": {
            "argv": ["{bin}/umbel", "-A", "adapters.umbel:app", "worker", "-P", "threads", "-c", "2"]
        },
        "threads100": {
            "argv": ["{bin}/umbel", "-A", "adapters.umbel:app", "worker", "-P", "threads", "-c", "100"]
        },
        # the same tasks as `async def`
        "asyncio100": {
            "argv": ["{bin}/umbel", "-A", "adapters.umbel:app", "worker", "-P", "asyncio", "-c", "100"],
            "opts": {"coroutines": 1},
        },
        "solo": {"argv": ["{bin}/umbel", "-A", "adapters.umbel:app", "worker", "-P", "solo"]},
        # Celery's early acknowledgement, for a like-for-like look; the default acknowledges after the task
        "prefork2_early": {
            "argv": ["{bin}/umbel", "-A", "adapters.umbel:app", "worker", "-P", "prefork", "-c", "2"],
            "opts": {"acks_late": False},
        },
        # no server at all: a file on disk (not in shared memory, where fsync would be free)
        "sqlite_prefork2": {
            "broker": "none",
            "argv": ["{bin}/umbel", "-A", "adapters.umbel:app", "worker", "-P", "prefork", "-c", "2"],
            "opts": {"sqlite": 1},
        },
        "sqlite_threads2": {
            "broker": "none",
            "argv": ["{bin}/umbel", "-A", "adapters.umbel:app", "worker", "-P", "threads", "-c", "2"],
            "opts": {"sqlite": 1},
        },
    },
    "scenario_profile": {"drain_io": "asyncio100"},
    "chain": True,
    "chord": True,
    # fast enough that the usual number would be over before it can be measured
    "n": {
        "prefork2:drain": 30000,
        "prefork2:drain_results": 20000,
        "threads2:drain": 20000,
        "drain_io": 5000,
    },
}
import benchlib as b  # noqa: E402
from umbel import Umbel, chain as _chain, chord as _chord  # noqa: E402

if b.OPTS.get("sqlite"):
    url = f"sqlite:///{b.DISK_DIR}/queue.db"
    app = Umbel("bench", broker=url, backend=url)
else:
    app = Umbel("bench", broker=b.REDIS_URL, backend=f"redis://127.0.0.1:{b.REDIS_PORT}/1")
if "acks_late" in b.OPTS:
    app.conf.task_acks_late = b.OPTS["acks_late"]

if b.OPTS.get("coroutines"):

    @app.task(ignore_result=True)
    async def noop(i, j, label=""):
        b.body_noop(i)

    @app.task
    async def noop_r(i, j, label=""):
        return b.body_noop_r(i)

    @app.task(ignore_result=True)
    async def io(i, j, label=""):
        await b.abody_io(i)

    @app.task(ignore_result=True)
    async def ms(i, j, label=""):
        await b.abody_ms(i)

    kinds = {}

else:

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

    @app.task
    def collect(results):
        return len(results)

    @app.task(ignore_result=True)
    def mix(i, j, label=""):
        b.body_mix(i)

    @app.task(ignore_result=True)
    def blob(i, data):
        b.body_blob(i, data)

    kinds = {"mix": mix}


T = {"noop": noop, "noop_r": noop_r, "io": io, "ms": ms, **kinds}


def enqueue(i, kind="noop"):
    return T[kind].delay(i, 7, label="abc")


def enqueue_bulk(ids, kind="noop"):
    T[kind].starmap_async([(i, 7, "abc") for i in ids])


def enqueue_blob(i, data):
    return blob.delay(i, data)


def enqueue_in_bulk(ids, delay, kind="noop"):
    T[kind].starmap_async([(i, 7, "abc") for i in ids], countdown=delay)


def enqueue_in(i, delay, kind="noop"):
    return T[kind].apply_async((i, 7), {"label": "abc"}, countdown=delay)


def result(h, timeout):
    return h.get(timeout=timeout)


def chain(n):
    assert _chain(*[noop_r.si(i, 7, label="abc") for i in range(n)])().get(timeout=60) == n - 1


def chord(n):
    assert _chord([noop_r.si(i, 7, label="abc") for i in range(n)])(collect.s()).get(timeout=60) == n
