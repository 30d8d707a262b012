"""SQL that only one kind of database gets."""

from __future__ import annotations

from typing import Any

from django.db import router
from django.db.migrations.operations.base import Operation

__all__ = ["VendorSQL"]


class VendorSQL(Operation):
    """Run `statements` on databases of `vendor`: "mysql", "mariadb" or "postgresql". Undone with the tables they change."""

    reduces_to_sql = True
    reversible = True

    def __init__(self, vendor: str, statements: list[str]) -> None:
        self.vendor = vendor
        self.statements = statements

    def state_forwards(self, app_label: str, state: Any) -> None:
        pass

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        connection = schema_editor.connection
        if self.vendor == _vendor(connection) and router.allow_migrate(connection.alias, app_label):
            for statement in self.statements:
                schema_editor.execute(statement, params=None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        pass

    def describe(self) -> str:
        return f"What only {self.vendor} needs"


def _vendor(connection: Any) -> str:
    """Django's own name of the kind of database, and "mariadb" where it says "mysql" of that one too."""
    return (
        "mariadb" if connection.vendor == "mysql" and connection.mysql_is_mariadb else str(connection.vendor)
    )
