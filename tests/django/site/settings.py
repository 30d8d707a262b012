"""A Django project for the tests. What changes from test to test comes from the environment."""

from __future__ import annotations

import os
import pathlib
import tempfile

import django
import pymysql

# MySQL's driver in pure Python, under the name that Django looks for.
pymysql.version_info = (2, 2, 7, "final", 0)
pymysql.install_as_MySQLdb()

if "UMBEL_TEST_FOLDER" not in os.environ:
    os.environ["UMBEL_TEST_FOLDER"] = tempfile.mkdtemp(prefix="umbel-django-")
_FOLDER = pathlib.Path(os.environ["UMBEL_TEST_FOLDER"])

SECRET_KEY = "only for tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.django.site.urls"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "umbel.contrib.django",
    "tests.django.site",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
# Each test process has servers and files of its own, and the workers that it starts find them by the environment.
_ME = os.environ.get("PYTEST_XDIST_WORKER", "main")
POSTGRES_FOLDER = _FOLDER / f"postgres-{_ME}"
MARIADB_FOLDER = _FOLDER / f"mariadb-{_ME}"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _FOLDER / f"{_ME}.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    },
    "postgres": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "umbel",
        "USER": "postgres",
        # A folder: PostgreSQL's Unix socket is in it.
        "HOST": os.environ.get("UMBEL_TEST_POSTGRES_HOST", str(POSTGRES_FOLDER)),
        "PORT": os.environ.get("UMBEL_TEST_POSTGRES_PORT", "5432"),
    },
    "mariadb": {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "umbel",
        "USER": "root",
        "OPTIONS": {"unix_socket": str(MARIADB_FOLDER / "mariadb.sock"), "charset": "utf8mb4"},
    },
}
for _database in DATABASES.values():
    # The tests' own, whatever it is called: workers, which know nothing of tests, use it too.
    _database["TEST"] = {"NAME": _database["NAME"], "DEPENDENCIES": []}
# Umbel does not route; what is not its own stays where Django's is.
DATABASE_ROUTERS = ["tests.django.site.routing.OnlyUmbelEverywhere"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TASKS = {"default": {"BACKEND": "umbel.contrib.django.TaskBackend", "QUEUES": ["default", "mails"]}}
if django.VERSION < (6, 0):
    INSTALLED_APPS.append("django_tasks")
