META = {
    "venv": "djangoq2",
    "broker": "redis",
    "dists": ["django", "django-q2", "redis"],
    "default_profile": "w2",
    "env": {"DJANGO_SETTINGS_MODULE": "adapters.django_q2_settings"},
    "init": ["{py}", "-m", "django", "migrate", "--verbosity", "0"],
    "profiles": {"w2": {"argv": ["{py}", "-m", "django", "qcluster", "--verbosity", "0"]}},
    "n": {"drain": 2000, "drain_results": 2000, "roundtrip": 50},
}
import django  # noqa: E402

django.setup()
from django_q.tasks import async_task, result as _result  # noqa: E402
import benchlib as b  # noqa: E402


def noop(i, j, label=""):
    b.body_noop(i)


def noop_r(i, j, label=""):
    return b.body_noop_r(i)


def io(i, j, label=""):
    b.body_io(i)


def ms(i, j, label=""):
    b.body_ms(i)


def enqueue(i, kind="noop"):
    return async_task("adapters.django_q2." + kind, i, 7, label="abc", save=kind == "noop_r")


def result(h, timeout):
    return _result(h, wait=int(timeout * 1000))
