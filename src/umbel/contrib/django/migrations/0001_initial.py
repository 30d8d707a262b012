"""The tables of the database broker."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models

import umbel.contrib.django.fields
from umbel.contrib.django.migrations._vendor import VendorSQL

# Queue tables change all the time: dead rows must go long before the fifth of the table that is usual.
POSTGRESQL = [
    f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500)"
    for table in ("umbel_message", "umbel_result")
]


class Migration(migrations.Migration):
    initial = True

    dependencies: ClassVar = []

    operations: ClassVar = [
        migrations.CreateModel(
            name="Boot",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("boot", models.CharField(max_length=64, verbose_name="boot")),
                ("offset", models.BigIntegerField(verbose_name="milliseconds to add")),
            ],
            options={
                "verbose_name": "boot",
                "verbose_name_plural": "boots",
                "db_table": "umbel_boot",
            },
        ),
        migrations.CreateModel(
            name="Dedupe",
            fields=[
                (
                    "key",
                    models.CharField(max_length=255, primary_key=True, serialize=False, verbose_name="key"),
                ),
                (
                    "until",
                    umbel.contrib.django.fields.InstantField(db_index=True, verbose_name="remembered until"),
                ),
            ],
            options={
                "verbose_name": "remembered key",
                "verbose_name_plural": "remembered keys",
                "db_table": "umbel_dedupe",
            },
        ),
        migrations.CreateModel(
            name="Node",
            fields=[
                (
                    "id",
                    models.CharField(max_length=255, primary_key=True, serialize=False, verbose_name="id"),
                ),
                ("heard", umbel.contrib.django.fields.InstantField(verbose_name="last heard")),
                ("silent_until", umbel.contrib.django.fields.InstantField(verbose_name="forgotten after")),
                ("info", models.BinaryField(verbose_name="what it says")),
            ],
            options={
                "verbose_name": "worker",
                "verbose_name_plural": "workers",
                "db_table": "umbel_node",
            },
        ),
        migrations.CreateModel(
            name="Queue",
            fields=[
                (
                    "name",
                    models.CharField(max_length=255, primary_key=True, serialize=False, verbose_name="name"),
                ),
            ],
            options={
                "verbose_name": "queue",
                "verbose_name_plural": "queues",
                "db_table": "umbel_queue",
            },
        ),
        migrations.CreateModel(
            name="Revoked",
            fields=[
                (
                    "task_id",
                    models.CharField(
                        max_length=255, primary_key=True, serialize=False, verbose_name="task id"
                    ),
                ),
                (
                    "until",
                    umbel.contrib.django.fields.InstantField(db_index=True, verbose_name="remembered until"),
                ),
            ],
            options={
                "verbose_name": "revoked call",
                "verbose_name_plural": "revoked calls",
                "db_table": "umbel_revoked",
            },
        ),
        migrations.CreateModel(
            name="Signal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("sent_at", umbel.contrib.django.fields.InstantField(db_index=True, verbose_name="sent")),
                ("signal", models.BinaryField(verbose_name="signal")),
            ],
            options={
                "verbose_name": "signal",
                "verbose_name_plural": "signals",
                "db_table": "umbel_signal",
            },
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("queue", models.CharField(max_length=255, verbose_name="queue")),
                (
                    "shelf",
                    models.SmallIntegerField(
                        choices=[(0, "waiting"), (1, "scheduled"), (2, "held"), (3, "parked"), (4, "dead")],
                        verbose_name="shelf",
                    ),
                ),
                (
                    "priority",
                    models.SmallIntegerField(
                        help_text="-100 to 100, larger is sooner", verbose_name="priority"
                    ),
                ),
                (
                    "turn",
                    models.BigIntegerField(
                        help_text="order of service within the queue, made of priority and time: smaller is sooner",
                        verbose_name="turn",
                    ),
                ),
                ("due", umbel.contrib.django.fields.InstantField(verbose_name="due")),
                ("deliveries", models.IntegerField(db_default=0, verbose_name="deliveries")),
                (
                    "token",
                    models.BigIntegerField(
                        help_text="new at every delivery; none unless held", null=True, verbose_name="token"
                    ),
                ),
                (
                    "lease_until",
                    umbel.contrib.django.fields.InstantField(null=True, verbose_name="held until"),
                ),
                ("holder", models.CharField(max_length=255, null=True, verbose_name="held by")),
                ("since", umbel.contrib.django.fields.InstantField(verbose_name="there since")),
                ("task_id", models.CharField(max_length=255, verbose_name="task id")),
                ("task", models.CharField(max_length=255, verbose_name="task")),
                ("reason", models.TextField(verbose_name="reason")),
                ("frame", models.BinaryField(verbose_name="message")),
            ],
            options={
                "verbose_name": "message",
                "verbose_name_plural": "messages",
                "db_table": "umbel_message",
                "indexes": [
                    models.Index(
                        condition=models.Q(("shelf", 0)),
                        fields=["queue", "turn", "id"],
                        name="umbel_message_waiting",
                    ),
                    models.Index(
                        condition=models.Q(("shelf", 1)),
                        fields=["due", "queue"],
                        name="umbel_message_scheduled",
                    ),
                    models.Index(
                        condition=models.Q(("shelf", 2)),
                        fields=["lease_until", "queue"],
                        name="umbel_message_held",
                    ),
                    models.Index(
                        condition=models.Q(("shelf", 3)), fields=["task"], name="umbel_message_parked"
                    ),
                    models.Index(
                        condition=models.Q(("shelf", 4)), fields=["queue", "since"], name="umbel_message_dead"
                    ),
                    models.Index(
                        condition=models.Q(("shelf__in", [1, 3, 4])),
                        fields=["task_id"],
                        name="umbel_message_task_id",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Result",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("task_id", models.CharField(max_length=255, verbose_name="task id")),
                ("state", models.CharField(max_length=50, verbose_name="state")),
                ("stored_at", umbel.contrib.django.fields.InstantField(verbose_name="stored")),
                (
                    "expires_at",
                    umbel.contrib.django.fields.InstantField(
                        db_index=True, null=True, verbose_name="kept until"
                    ),
                ),
                ("payload", models.BinaryField(verbose_name="record")),
            ],
            options={
                "verbose_name": "result",
                "verbose_name_plural": "results",
                "db_table": "umbel_result",
                "constraints": [models.UniqueConstraint(fields=("task_id",), name="umbel_result_task_id")],
            },
        ),
        VendorSQL("postgresql", POSTGRESQL),
    ]
