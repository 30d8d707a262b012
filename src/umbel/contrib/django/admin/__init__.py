"""Queues and results in Django's admin, whatever broker and result store the project has.

The pages are those of the models Message and Result, for their place in the index, their permissions and their history; what they
show comes from the broker and the result store themselves.
"""

from __future__ import annotations

from django.contrib import admin

from umbel.contrib.django.admin.pages import MessageAdmin, ResultAdmin
from umbel.contrib.django.models import Message, Result

__all__ = ["MessageAdmin", "ResultAdmin"]

admin.site.register(Message, MessageAdmin)
admin.site.register(Result, ResultAdmin)
