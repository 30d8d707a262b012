"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig

from umbel import integration
from umbel.contrib.django import checks, references
from umbel.contrib.django.integration import DjangoIntegration
from umbel.contrib.django.project import get_app

__all__ = ["UmbelAppConfig"]


class UmbelAppConfig(AppConfig):
    """``umbel.contrib.django`` in ``INSTALLED_APPS``."""

    name = "umbel.contrib.django"
    label = "umbel"
    verbose_name = "Umbel"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Django's settings count from now on, and the project has an app."""
        if integration.active() is None:
            integration.activate(DjangoIntegration())
        checks.register()
        references.install()
        get_app()
