"""For ``manage.py test --settings MxOnline.test_settings``: tasks run in place, mails stay in memory."""

from .settings import *  # noqa: F403

UMBEL = {"task_always_eager": True}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick, and good for nothing else
SILENCED_SYSTEM_CHECKS = ["umbel.W004"]  # that tasks run in place is meant
