"""What the tables need in MySQL and MariaDB. After the migrations that make the tables, whose indexes are made at their very end."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from umbel.contrib.django.migrations._vendor import VendorIndexes, VendorSQL

TABLES = ("message", "result", "queue", "dedupe", "revoked", "node", "signal", "boot", "outbox")
# Without conditions, which MySQL does not know, an index for each shelf is of no use: one serves them all.
OLD = {
    "umbel_message_waiting": ["queue", "turn", "id"],
    "umbel_message_scheduled": ["due", "queue"],
    "umbel_message_held": ["lease_until", "queue"],
    "umbel_message_parked": ["task"],
    "umbel_message_dead": ["queue", "since"],
}
NEW = {
    "umbel_message_turn": ["shelf", "queue", "turn", "id"],
    "umbel_message_due": ["shelf", "due", "queue"],
    "umbel_message_lease": ["lease_until"],
}


def exact_text(collation: str) -> list[str]:
    """Let "Q" and "q" be two queues, and "q" and "q " too."""
    return [
        f"ALTER TABLE umbel_{table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}" for table in TABLES
    ]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("umbel", "0002_outbox")]

    operations: ClassVar = [
        VendorSQL("mysql", exact_text("utf8mb4_0900_bin")),
        VendorSQL("mariadb", exact_text("utf8mb4_nopad_bin")),
        VendorIndexes("mysql", "umbel_message", OLD, NEW),
        VendorIndexes("mariadb", "umbel_message", OLD, NEW),
    ]
