"""Settings of MxOnline. What differs from machine to machine comes from the environment; nothing has to be set to try it."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import django
from django.utils.translation import gettext_lazy as _

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("DATA_DIR", BASE_DIR / "data"))
DATA_DIR.mkdir(parents=True, exist_ok=True)

# The site's own address. Links in mails are made from it, never from what a request says its host is.
SITE_URL = os.environ.get("SITE_URL", "http://127.0.0.1:8000").rstrip("/")
HOST = urlsplit(SITE_URL).hostname or "127.0.0.1"

DEBUG = os.environ.get("DEBUG", "1") == "1"
ALLOWED_HOSTS = [HOST, "localhost"] if DEBUG else [HOST]
# Without DEBUG it has to be set: Django does not start with an empty one.
SECRET_KEY = os.environ.get("SECRET_KEY", "only for development" if DEBUG else "")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SITE_URL.startswith("https://")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "umbel.contrib.django",
    "users",
    "courses",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "MxOnline.urls"
WSGI_APPLICATION = "MxOnline.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "users.context.site",
            ]
        },
    }
]


def database(url: str) -> dict[str, object]:
    """Django's words for ``postgresql://user:password@host:port/name``; without a URL, a SQLite file."""
    if not url:
        # Readers and writers at the same time, and a write that waits for its turn instead of failing.
        begin = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL"}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "db.sqlite3", "OPTIONS": begin}
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise ValueError(f"DATABASE_URL must begin with postgresql://, not {parts.scheme}://")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
    }


DATABASES = {"default": database(os.environ.get("DATABASE_URL", ""))}
# The queue lies in that database, unless UMBEL_BROKER_URL names another place. Then a call is stored in the transaction that makes
# it, and sent from there: none is lost when a process dies between the two.
UMBEL = {"outbox": "UMBEL_BROKER_URL" in os.environ}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "users.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "users:login"
LOGIN_REDIRECT_URL = "courses:list"
LOGOUT_REDIRECT_URL = "courses:list"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]

MAIL_SERVER = {
    "host": os.environ.get("EMAIL_HOST", "127.0.0.1"),
    "port": int(os.environ.get("EMAIL_PORT", "1025")),
    "timeout": float(os.environ.get("EMAIL_TIMEOUT", "10")),
}
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": MAIL_SERVER}}
else:
    EMAIL_HOST, EMAIL_PORT, EMAIL_TIMEOUT = MAIL_SERVER.values()
MAIL_DOMAIN = os.environ.get("MAIL_DOMAIN", "mxonline.example")
DEFAULT_FROM_EMAIL = f"MxOnline <noreply@{MAIL_DOMAIN}>"
# Seconds before a mail that could not be sent is tried again: this, then 2, 4, 8 … times this.
MAIL_RETRY_BACKOFF = float(os.environ.get("MAIL_RETRY_BACKOFF", "1"))
# At most so many mails an hour to one address, whoever asks for them.
MAILS_PER_HOUR = 10
# Where the demo shows its mails.
MAIL_PAGE_URL = os.environ.get("MAIL_PAGE_URL", "")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"users": {"handlers": ["console"], "level": "INFO"}},
}
