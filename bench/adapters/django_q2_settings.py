import os

SECRET_KEY = "bench"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django_q"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.path.join(os.environ.get("BENCH_RUN_DIR", "."), "db.sqlite3"),
        "OPTIONS": {"timeout": 30},
    }
}
Q_CLUSTER = {
    "name": "bench",
    "workers": 2,
    "timeout": 60,
    "retry": 120,
    "log_level": "ERROR",
    "redis": {"host": "127.0.0.1", "port": int(os.environ.get("BENCH_REDIS_PORT", "6390")), "db": 0},
}
