"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["UmbelAppConfig"]


class UmbelAppConfig(AppConfig):
    """``umbel.contrib.django`` in ``INSTALLED_APPS``."""

    name = "umbel.contrib.django"
    label = "umbel"
    verbose_name = "Umbel"
    default_auto_field = "django.db.models.BigAutoField"
