"""The tables of the database broker (``django://``), as Django's migrations make them and as the admin shows them.

The broker reads and writes them by statements of its own (``umbel.contrib.django.database``). What is changed here by other
means is changed behind its back: read as you like, and change messages through ``app.broker``.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from umbel.contrib.django.fields import InstantField

__all__ = [
    "Boot",
    "Dedupe",
    "Join",
    "JoinPart",
    "Message",
    "Node",
    "OutboxMessage",
    "Queue",
    "Result",
    "Revoked",
    "Shelf",
    "Signal",
]


class Shelf(models.IntegerChoices):
    """Where a message is: on exactly one shelf at any instant."""

    WAITING = 0, _("waiting")
    SCHEDULED = 1, _("scheduled")
    HELD = 2, _("held")
    PARKED = 3, _("parked")
    DEAD = 4, _("dead")


class Message(models.Model):
    """A call that has not ended, or a dead letter."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    queue: models.CharField[str, str] = models.CharField(_("queue"), max_length=255)
    shelf: models.SmallIntegerField[int, int] = models.SmallIntegerField(_("shelf"), choices=Shelf.choices)
    priority: models.SmallIntegerField[int, int] = models.SmallIntegerField(
        _("priority"), help_text=_("-100 to 100, larger is sooner")
    )
    turn: models.BigIntegerField[int, int] = models.BigIntegerField(
        _("turn"),
        help_text=_("order of service within the queue, made of priority and time: smaller is sooner"),
    )
    due = InstantField(_("due"))
    deliveries: models.IntegerField[int, int] = models.IntegerField(_("deliveries"), db_default=0)
    token: models.BigIntegerField[int | None, int | None] = models.BigIntegerField(
        _("token"), null=True, help_text=_("new at every delivery; none unless held")
    )
    lease_until = InstantField(_("held until"), null=True)
    holder: models.CharField[str | None, str | None] = models.CharField(
        _("held by"), max_length=255, null=True
    )
    since = InstantField(_("there since"))
    task_id: models.CharField[str, str] = models.CharField(_("task id"), max_length=255)
    task: models.CharField[str, str] = models.CharField(_("task"), max_length=255)
    reason: models.TextField[str, str] = models.TextField(_("reason"))
    frame: models.BinaryField[bytes, bytes] = models.BinaryField(_("message"))

    class Meta:
        db_table = "umbel_message"
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        # Each shelf has an index of its own, so that a million rows on one cost nothing on another. MySQL has no such
        # indexes: there the migration makes others. What waits and what is held has none by task id: keys in random
        # order would cost every message more than all the rest together.
        indexes: ClassVar = [
            models.Index(
                fields=["queue", "turn", "id"], name="umbel_message_waiting", condition=Q(shelf=Shelf.WAITING)
            ),
            models.Index(
                fields=["due", "queue"], name="umbel_message_scheduled", condition=Q(shelf=Shelf.SCHEDULED)
            ),
            models.Index(
                fields=["lease_until", "queue"], name="umbel_message_held", condition=Q(shelf=Shelf.HELD)
            ),
            models.Index(fields=["task"], name="umbel_message_parked", condition=Q(shelf=Shelf.PARKED)),
            models.Index(fields=["queue", "since"], name="umbel_message_dead", condition=Q(shelf=Shelf.DEAD)),
            models.Index(
                fields=["task_id"],
                name="umbel_message_task_id",
                condition=Q(shelf__in=[Shelf.SCHEDULED, Shelf.PARKED, Shelf.DEAD]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task or '?'} [{self.task_id}]"

    @classmethod
    def _check_indexes(cls, databases: object) -> list[object]:
        """No warning (models.W037) about what MySQL does not have: the migration gives it what it needs."""
        return []


class Result(models.Model):
    """The latest record of a call. Its `id` is new at every write."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    task_id: models.CharField[str, str] = models.CharField(_("task id"), max_length=255)
    state: models.CharField[str, str] = models.CharField(_("state"), max_length=50)
    stored_at = InstantField(_("stored"))
    expires_at = InstantField(_("kept until"), null=True, db_index=True)
    payload: models.BinaryField[bytes, bytes] = models.BinaryField(_("record"))

    class Meta:
        db_table = "umbel_result"
        verbose_name = _("result")
        verbose_name_plural = _("results")
        # Not unique=True: that would make a second index on PostgreSQL, for LIKE.
        constraints: ClassVar = [models.UniqueConstraint(fields=["task_id"], name="umbel_result_task_id")]

    def __str__(self) -> str:
        return f"{self.state} [{self.task_id}]"


class Join(models.Model):
    """Where the calls of a chord's header meet."""

    id: models.CharField[str, str] = models.CharField(_("id"), max_length=255, primary_key=True)
    size: models.IntegerField[int, int] = models.IntegerField(_("waits for"), help_text=_("calls"))
    filled: models.IntegerField[int, int] = models.IntegerField(_("arrived"), help_text=_("calls"))
    expires_at = InstantField(_("kept until"), null=True, db_index=True)

    class Meta:
        db_table = "umbel_join"
        verbose_name = _("join")
        verbose_name_plural = _("joins")

    def __str__(self) -> str:
        return self.id


class JoinPart(models.Model):
    """What a call has brought to its join."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    join_id: models.CharField[str, str] = models.CharField(_("join"), max_length=255)
    task_id: models.CharField[str, str] = models.CharField(_("task id"), max_length=255)
    place: models.IntegerField[int, int] = models.IntegerField(_("place"))
    failed: models.BooleanField[bool, bool] = models.BooleanField(_("failed"))
    part: models.BinaryField[bytes, bytes] = models.BinaryField(_("value"))

    class Meta:
        db_table = "umbel_join_part"
        verbose_name = _("arrival")
        verbose_name_plural = _("arrivals")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["join_id", "task_id"], name="umbel_join_part_slot")
        ]

    def __str__(self) -> str:
        return f"{self.task_id} in {self.join_id}"


class Queue(models.Model):
    """A queue that somebody has worked on or purged. Others are known by their messages."""

    name: models.CharField[str, str] = models.CharField(_("name"), max_length=255, primary_key=True)

    class Meta:
        db_table = "umbel_queue"
        verbose_name = _("queue")
        verbose_name_plural = _("queues")

    def __str__(self) -> str:
        return self.name


class Dedupe(models.Model):
    """A key that is remembered: a second message with it is dropped."""

    key: models.CharField[str, str] = models.CharField(_("key"), max_length=255, primary_key=True)
    until = InstantField(_("remembered until"), db_index=True)

    class Meta:
        db_table = "umbel_dedupe"
        verbose_name = _("remembered key")
        verbose_name_plural = _("remembered keys")

    def __str__(self) -> str:
        return self.key


class Revoked(models.Model):
    """A call that must not run."""

    task_id: models.CharField[str, str] = models.CharField(_("task id"), max_length=255, primary_key=True)
    until = InstantField(_("remembered until"), db_index=True)

    class Meta:
        db_table = "umbel_revoked"
        verbose_name = _("revoked call")
        verbose_name_plural = _("revoked calls")

    def __str__(self) -> str:
        return self.task_id


class Node(models.Model):
    """What a worker says of itself while it lives."""

    id: models.CharField[str, str] = models.CharField(_("id"), max_length=255, primary_key=True)
    heard = InstantField(_("last heard"))
    silent_until = InstantField(_("forgotten after"))
    info: models.BinaryField[bytes, bytes] = models.BinaryField(_("what it says"))

    class Meta:
        db_table = "umbel_node"
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return self.id


class Signal(models.Model):
    """A hint to every node. Kept for a minute."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    sent_at = InstantField(_("sent"), db_index=True)
    signal: models.BinaryField[bytes, bytes] = models.BinaryField(_("signal"))

    class Meta:
        db_table = "umbel_signal"
        verbose_name = _("signal")
        verbose_name_plural = _("signals")

    def __str__(self) -> str:
        return str(self.id)


class Boot(models.Model):
    """SQLite: how this machine's steady clock, which begins anew at every boot, is read as wall time. One row."""

    id: models.SmallIntegerField[int, int] = models.SmallIntegerField(primary_key=True)
    boot: models.CharField[str, str] = models.CharField(_("boot"), max_length=64)
    offset: models.BigIntegerField[int, int] = models.BigIntegerField(_("milliseconds to add"))

    class Meta:
        db_table = "umbel_boot"
        verbose_name = _("boot")
        verbose_name_plural = _("boots")

    def __str__(self) -> str:
        return self.boot


class OutboxMessage(models.Model):
    """A call that was made in a transaction and has not been sent yet; see ``umbel.contrib.django.outbox``."""

    id: models.BigAutoField[int, int] = models.BigAutoField(primary_key=True)
    queue: models.CharField[str, str] = models.CharField(_("queue"), max_length=255)
    priority: models.SmallIntegerField[int, int] = models.SmallIntegerField(_("priority"))
    due = InstantField(_("due"), null=True)
    dedupe_key: models.CharField[str, str] = models.CharField(_("known by"), max_length=255)
    dedupe_window: models.FloatField[float, float] = models.FloatField(
        _("remembered for"), help_text=_("seconds")
    )
    task: models.CharField[str, str] = models.CharField(_("task"), max_length=255)
    task_id: models.CharField[str, str] = models.CharField(_("task id"), max_length=255)
    stored_at = InstantField(_("stored"))
    not_before = InstantField(_("left to its sender until"), db_index=True)
    tries: models.IntegerField[int, int] = models.IntegerField(_("tries"), default=0)
    problem: models.TextField[str, str] = models.TextField(_("problem"))
    frame: models.BinaryField[bytes, bytes] = models.BinaryField(_("message"))

    class Meta:
        db_table = "umbel_outbox"
        verbose_name = _("call to be sent")
        verbose_name_plural = _("calls to be sent")

    def __str__(self) -> str:
        return f"{self.task} [{self.task_id}]"
