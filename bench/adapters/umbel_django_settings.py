import os
from urllib.parse import urlparse

SECRET_KEY = "bench"
USE_TZ = True
INSTALLED_APPS = ["umbel.contrib.django"]
_u = urlparse(os.environ.get("BENCH_PG_DSN", ""))
if _u.hostname:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": _u.hostname,
            "PORT": _u.port,
            "USER": _u.username,
            "NAME": _u.path[1:],
            "CONN_MAX_AGE": 60,
        }
    }
else:
    # as for django-tasks-db
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(os.environ.get("BENCH_RUN_DIR", "."), "db.sqlite3"),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
                "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL",
            },
        }
    }
LOGGING_CONFIG = None
