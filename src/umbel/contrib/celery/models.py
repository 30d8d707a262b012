"""``@app.task(pydantic=True)``: arguments become the models that the annotations name, and a model becomes a dict."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

from umbel.errors import ConfigurationError

__all__ = ["with_models"]


def with_models(
    fun: Callable[..., Any], bound: bool, strict: bool | None, context: dict[str, Any] | None
) -> Callable[..., Any]:
    """`fun` that validates its arguments by its annotations, and dumps a model that it returns. Raises ConfigurationError when
    pydantic is not installed."""
    try:
        base: Any = __import__("pydantic").BaseModel
    except ImportError as exc:
        raise ConfigurationError(
            "@app.task(pydantic=True) needs the package pydantic: pip install pydantic."
        ) from exc
    signature = inspect.signature(fun)

    def model_of(annotation: Any) -> Any:
        choices = [annotation, *typing.get_args(annotation)]
        return next((c for c in choices if isinstance(c, type) and issubclass(c, base)), None)

    @functools.wraps(fun)
    def run(*args: Any, **kwargs: Any) -> Any:
        hints = typing.get_type_hints(fun)
        given = signature.bind(*args, **kwargs)
        for name, value in given.arguments.items():
            model = model_of(hints.get(name))
            if model is not None and value is not None and not isinstance(value, base):
                given.arguments[name] = model.model_validate(value, strict=strict, context=context)
        value = fun(*given.args, **given.kwargs)
        return value.model_dump(mode="json") if isinstance(value, base) else value

    return run
