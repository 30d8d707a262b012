"""``app.conf`` as Celery has it: its defaults, and settings of the program's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from umbel.config import Config
from umbel.errors import UnknownSetting

__all__ = ["CeleryConfig"]

_DEFAULTS: dict[str, Any] = {
    "task_acks_late": False,
    "task_reject_on_worker_lost": None,
    "worker_hijack_root_logger": True,
}
"""Where Umbel's defaults differ, and a program that was written for Celery relies on Celery's."""


class CeleryConfig(Config):
    """See ``umbel.config.Config``. A name that is no setting is kept as it is, as Celery does."""

    strict: ClassVar[bool] = False

    def __init__(
        self, keywords: Mapping[str, Any] | None = None, *, environ: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(keywords, environ=environ)
        self.add_defaults(_DEFAULTS)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and getattr(self, name, self) is not self)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a setting, None included; `default` when there is no such setting."""
        return getattr(self, name, default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The value of a setting; when it was never given, it is set to `default`."""
        try:
            given = self.source(name) not in ("default", "defaults")
        except UnknownSetting:
            given = False
        if not given:
            self[name] = default
        return self[name]

    def items(self) -> Iterator[tuple[str, Any]]:
        """All settings with their values."""
        return iter(self.table(with_defaults=True).items())

    def values(self) -> Iterator[Any]:
        """The values of all settings."""
        return iter(self.table(with_defaults=True).values())

    def without_defaults(self) -> dict[str, Any]:
        """The settings that were given."""
        return self.table()

    @property
    def changes(self) -> dict[str, Any]:
        """What was assigned to ``app.conf``."""
        return {name: value for name, value in self.table().items() if self.source(name) == "assignment"}

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """The settings as text, a line each; `censored`: without secrets."""
        lines = []
        for name, value in sorted(self.table(with_defaults=with_defaults).items()):
            hidden = censored and any(
                word in name for word in ("url", "password", "secret", "backend", "key")
            )
            lines.append(f"{name}: {'********' if hidden and value else repr(value)}")
        return "\n".join(lines)

    def find_value_for_key(self, name: str, namespace: str = "celery") -> Any:
        """The value of the setting `name`, or of that name in `namespace`: ``("always_eager", "task")``."""
        full = f"{namespace}_{name}".lower()
        return self[full if full in self else name]
