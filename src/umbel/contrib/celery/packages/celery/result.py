"""Results."""

from __future__ import annotations

from umbel import AsyncResult, EagerResult, GroupResult, ResultSet, allow_join_result, result_from_tuple

__all__ = ["AsyncResult", "EagerResult", "GroupResult", "ResultSet", "allow_join_result", "result_from_tuple"]
