"""For ``manage.py test --settings MxOnline.test_settings``."""

from .settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick, and good for nothing else
