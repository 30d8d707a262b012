"""The outbox: calls that wait for the broker in the transaction's own database."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models

import umbel.contrib.django.fields


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ("umbel", "0001_initial"),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name="OutboxMessage",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("queue", models.CharField(max_length=255, verbose_name="queue")),
                ("priority", models.SmallIntegerField(verbose_name="priority")),
                ("due", umbel.contrib.django.fields.InstantField(null=True, verbose_name="due")),
                ("dedupe_key", models.CharField(max_length=255, verbose_name="known by")),
                ("dedupe_window", models.FloatField(help_text="seconds", verbose_name="remembered for")),
                ("task", models.CharField(max_length=255, verbose_name="task")),
                ("task_id", models.CharField(max_length=255, verbose_name="task id")),
                ("stored_at", umbel.contrib.django.fields.InstantField(verbose_name="stored")),
                (
                    "not_before",
                    umbel.contrib.django.fields.InstantField(
                        db_index=True, verbose_name="left to its sender until"
                    ),
                ),
                ("tries", models.IntegerField(default=0, verbose_name="tries")),
                ("problem", models.TextField(verbose_name="problem")),
                ("frame", models.BinaryField(verbose_name="message")),
            ],
            options={
                "verbose_name": "call to be sent",
                "verbose_name_plural": "calls to be sent",
                "db_table": "umbel_outbox",
            },
        ),
    ]
