"""Text."""

from __future__ import annotations

from umbel.contrib.celery.utils.text import (
    WhateverIO,
    abbr,
    abbrtask,
    dedent,
    dedent_initial,
    ensure_newlines,
    ensure_sep,
    fill_paragraphs,
    indent,
    join,
    match_case,
    pluralize,
    pretty,
    remove_repeating,
    remove_repeating_from_task,
    simple_format,
    str_to_list,
    truncate,
    truncate_bytes,
)

__all__ = [
    "WhateverIO",
    "abbr",
    "abbrtask",
    "dedent",
    "dedent_initial",
    "ensure_newlines",
    "ensure_sep",
    "fill_paragraphs",
    "indent",
    "join",
    "match_case",
    "pluralize",
    "pretty",
    "remove_repeating",
    "remove_repeating_from_task",
    "simple_format",
    "str_to_list",
    "truncate",
    "truncate_bytes",
]
