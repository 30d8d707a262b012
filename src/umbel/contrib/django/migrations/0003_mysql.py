"""What the tables need in MySQL and MariaDB. After the migrations that make the tables, whose indexes are made at their very end."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from umbel.contrib.django.migrations._vendor import VendorSQL

TABLES = ("message", "result", "queue", "dedupe", "revoked", "node", "signal", "boot", "outbox")
# Without conditions, which MySQL does not know, an index for each shelf is of no use: one serves them all.
MYSQL = [
    *(
        f"ALTER TABLE umbel_message DROP INDEX umbel_message_{shelf}"
        for shelf in ("waiting", "scheduled", "held", "parked", "dead")
    ),
    "CREATE INDEX umbel_message_turn ON umbel_message (shelf, queue, turn, id)",
    "CREATE INDEX umbel_message_due ON umbel_message (shelf, due, queue)",
    "CREATE INDEX umbel_message_lease ON umbel_message (lease_until)",
]


def exact_text(collation: str) -> list[str]:
    """Let "Q" and "q" be two queues, and "q" and "q " too."""
    return [
        f"ALTER TABLE umbel_{table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}" for table in TABLES
    ]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("umbel", "0002_outbox")]

    operations: ClassVar = [
        VendorSQL("mysql", [*exact_text("utf8mb4_0900_bin"), *MYSQL]),
        VendorSQL("mariadb", [*exact_text("utf8mb4_nopad_bin"), *MYSQL]),
    ]
