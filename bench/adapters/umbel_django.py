META = {
    "venv": "umbeldjango",
    "broker": "postgres",
    "dists": ["umbel", "django", "psycopg"],
    "default_profile": "prefork2",
    "env": {"DJANGO_SETTINGS_MODULE": "adapters.umbel_django_settings"},
    "init": ["{py}", "-m", "django", "migrate", "--verbosity", "0"],
    "profiles": {
        "prefork2": {
            "argv": ["{bin}/umbel", "-A", "adapters.umbel_django:app", "worker", "-c", "2"],
            "children": 2,
        },
        "sqlite_prefork2": {
            "broker": "none",
            "argv": ["{bin}/umbel", "-A", "adapters.umbel_django:app", "worker", "-c", "2"],
            "children": 2,
        },
    },
    "n": {"drain": 20000, "drain_results": 10000, "roundtrip": 200, "pickup": 100},
}
import django  # noqa: E402
import benchlib as b  # noqa: E402
from umbel import Umbel  # noqa: E402

django.setup()
app = Umbel("bench")


@app.task(ignore_result=True)
def noop(i, j, label=""):
    b.body_noop(i)


@app.task
def noop_r(i, j, label=""):
    return b.body_noop_r(i)


@app.task(ignore_result=True)
def io(i, j, label=""):
    b.body_io(i)


T = {"noop": noop, "noop_r": noop_r, "io": io}


def enqueue(i, kind="noop"):
    return T[kind].delay(i, 7, label="abc")


def enqueue_bulk(ids, kind="noop"):
    T[kind].starmap_async([(i, 7, "abc") for i in ids])


def result(h, timeout):
    return h.get(timeout=timeout)
