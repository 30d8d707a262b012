"""The tasks that the integration brings along: workers find them here, as they find those of any application."""

from __future__ import annotations

from umbel.contrib.django.mail.delivery import send_emails

__all__ = ["send_emails"]
