"""What only one kind of database gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import router
from django.db.migrations.operations.base import Operation

__all__ = ["VendorIndexes", "VendorSQL"]

Indexes = Mapping[str, Sequence[str]]
"""Name -> columns."""


class _VendorOperation(Operation):
    """On databases of `vendor`: "mysql", "mariadb" or "postgresql"."""

    reduces_to_sql = True
    reversible = True

    def __init__(self, vendor: str) -> None:
        self.vendor = vendor

    def state_forwards(self, app_label: str, state: Any) -> None:
        pass

    def describe(self) -> str:
        return f"What only {self.vendor} needs"

    def _concerns(self, connection: Any, app_label: str) -> bool:
        return self.vendor == _vendor(connection) and router.allow_migrate(connection.alias, app_label)


class VendorSQL(_VendorOperation):
    """Run `statements`, which may be run again. Undone with the tables they change."""

    def __init__(self, vendor: str, statements: list[str]) -> None:
        super().__init__(vendor)
        self.statements = statements

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if self._concerns(schema_editor.connection, app_label):
            for statement in self.statements:
                schema_editor.execute(statement, params=None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        pass


class VendorIndexes(_VendorOperation):
    """Let `table` have `new` indexes instead of `old` ones.

    Looks first at those that there are: MySQL and MariaDB have no transactions for this, and a migration that broke off half way
    is begun again from its start.
    """

    def __init__(self, vendor: str, table: str, old: Indexes, new: Indexes) -> None:
        super().__init__(vendor)
        self.table = table
        self.old = old
        self.new = new

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if self._concerns(schema_editor.connection, app_label):
            self._replace(schema_editor, self.old, self.new)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if self._concerns(schema_editor.connection, app_label):
            self._replace(schema_editor, self.new, self.old)

    def _replace(self, schema_editor: Any, old: Indexes, new: Indexes) -> None:
        present = set(old) if schema_editor.collect_sql else self._present(schema_editor.connection)
        for name, columns in new.items():
            if name not in present:
                schema_editor.execute(
                    f"CREATE INDEX {name} ON {self.table} ({', '.join(columns)})", params=None
                )
        for name in old:
            if name in present:
                schema_editor.execute(f"DROP INDEX {name} ON {self.table}", params=None)

    def _present(self, connection: Any) -> set[str]:
        with connection.cursor() as cursor:
            return set(connection.introspection.get_constraints(cursor, self.table))


def _vendor(connection: Any) -> str:
    """Django's own name of the kind of database, and "mariadb" where it says "mysql" of that one too."""
    return (
        "mariadb" if connection.vendor == "mysql" and connection.mysql_is_mariadb else str(connection.vendor)
    )
