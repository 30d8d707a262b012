"""URLs."""

from __future__ import annotations

from umbel.contrib.celery.kombu_urls import (
    as_url,
    maybe_sanitize_url,
    parse_url,
    sanitize_url,
    url_to_parts,
    urlparts,
)

__all__ = [
    "as_url",
    "maybe_sanitize_url",
    "parse_url",
    "sanitize_url",
    "url_to_parts",
    "urlparts",
]
