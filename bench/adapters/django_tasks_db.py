META = {
    "venv": "djangotasks",
    "broker": "postgres",
    "dists": ["django", "django-tasks", "django-tasks-db", "psycopg"],
    "default_profile": "w2",
    "env": {"DJANGO_SETTINGS_MODULE": "adapters.django_tasks_db_settings"},
    "init": ["{py}", "-m", "django", "migrate", "--verbosity", "0"],
    "profiles": {
        "w2": {
            "argv": [
                ["{py}", "-m", "django", "db_worker", "--verbosity", "0", "--no-startup-delay"],
                ["{py}", "-m", "django", "db_worker", "--verbosity", "0", "--no-startup-delay"],
            ]
        },
        "w1": {"argv": ["{py}", "-m", "django", "db_worker", "--verbosity", "0", "--no-startup-delay"]},
        "sqlite_w2": {
            "broker": "none",
            "argv": [
                ["{py}", "-m", "django", "db_worker", "--verbosity", "0", "--no-startup-delay"],
                ["{py}", "-m", "django", "db_worker", "--verbosity", "0", "--no-startup-delay"],
            ],
        },
    },
    "n": {
        "drain": 2000,
        "drain_results": 2000,
        "drain_io": 500,
        "roundtrip": 50,
        "eta": 10000,
        "crash": 1000,
    },
}
import time  # noqa: E402
from datetime import timedelta  # noqa: E402

import django  # noqa: E402
import benchlib as b  # noqa: E402

django.setup()
from django.utils import timezone  # noqa: E402
from adapters.django_tasks_db_tasks import T  # noqa: E402


def enqueue(i, kind="noop"):
    return T[kind].enqueue(i, 7, label="abc")


def enqueue_in(i, delay, kind="noop"):
    return T[kind].using(run_after=timezone.now() + timedelta(seconds=delay)).enqueue(i, 7, label="abc")


def result(h, timeout):
    end = time.time() + timeout
    while not h.is_finished:
        if time.time() > end:
            raise TimeoutError
        time.sleep(0.002)
        h.refresh()
    return h.return_value
