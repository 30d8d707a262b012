"""The tables of joins, where the calls of chords meet."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models

import umbel.contrib.django.fields
from umbel.contrib.django.migrations._vendor import VendorSQL

TABLES = ("join", "join_part")


def exact_text(collation: str) -> list[str]:
    """As in the migration before: ids that differ in case are two ids."""
    return [
        f"ALTER TABLE umbel_{table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {collation}" for table in TABLES
    ]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("umbel", "0003_mysql")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="Join",
            fields=[
                (
                    "id",
                    models.CharField(max_length=255, primary_key=True, serialize=False, verbose_name="id"),
                ),
                ("size", models.IntegerField(help_text="calls", verbose_name="waits for")),
                ("filled", models.IntegerField(help_text="calls", verbose_name="arrived")),
                (
                    "expires_at",
                    umbel.contrib.django.fields.InstantField(
                        db_index=True, null=True, verbose_name="kept until"
                    ),
                ),
            ],
            options={
                "verbose_name": "join",
                "verbose_name_plural": "joins",
                "db_table": "umbel_join",
            },
        ),
        migrations.CreateModel(
            name="JoinPart",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("join_id", models.CharField(max_length=255, verbose_name="join")),
                ("task_id", models.CharField(max_length=255, verbose_name="task id")),
                ("place", models.IntegerField(verbose_name="place")),
                ("failed", models.BooleanField(verbose_name="failed")),
                ("part", models.BinaryField(verbose_name="value")),
            ],
            options={
                "verbose_name": "arrival",
                "verbose_name_plural": "arrivals",
                "db_table": "umbel_join_part",
                "constraints": [
                    models.UniqueConstraint(fields=("join_id", "task_id"), name="umbel_join_part_slot")
                ],
            },
        ),
        VendorSQL("mysql", exact_text("utf8mb4_0900_bin")),
        VendorSQL("mariadb", exact_text("utf8mb4_nopad_bin")),
    ]
