"""Mail through the queue: ``EMAIL_BACKEND = "umbel.contrib.django.mail.EmailBackend"``.

``send_mail()`` and its sisters return at once; a worker sends through the real backend, with retries.
"""

from __future__ import annotations

from umbel.contrib.django.mail.backend import EmailBackend
from umbel.contrib.django.mail.delivery import EmailRefused
from umbel.contrib.django.mail.forms import EmailTooLarge

__all__ = ["EmailBackend", "EmailRefused", "EmailTooLarge"]
