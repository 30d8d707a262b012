"""Rows as arguments: read in the worker, signed, and a clear failure when they are gone."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, models
from django.test.utils import isolate_apps, override_settings

import umbel.errors
from umbel import Umbel
from umbel.backends.memory import forget_memory
from umbel.contrib.django import ref
from umbel.contrib.django.references import InvalidReference, ObjectGone
from umbel.errors import EncodeError
from umbel.testing import start_worker


@pytest.fixture
def app() -> Iterator[Umbel]:
    app = Umbel(
        "references", broker="memory://references", backend="memory://references", set_as_current=False
    )
    yield app
    app.close()
    forget_memory("references")


def describe(value: Any) -> Any:
    """What a task got, in plain data: of a row its class and name."""
    if isinstance(value, User | Group):
        return f"{type(value).__name__} {value}"
    if isinstance(value, dict):
        return {key: describe(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [describe(part) for part in value]
    return value


@pytest.fixture
def show(app: Umbel) -> Any:
    @app.task(name="show", typing=False)
    def show(*args: Any, **kwargs: Any) -> Any:
        return describe([*args, kwargs])

    return show


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_a_worker_reads_the_row_as_it_is_then(app: Umbel, show: Any, pool: str) -> None:
    user = User.objects.create(username="ada")
    group = Group.objects.create(name="editors")
    sent = show.delay(ref(user), [1, {"group": ref(group)}], other=ref(user), plain={"a": [None]})
    User.objects.filter(pk=user.pk).update(username="ada l.")
    with start_worker(app, pool=pool):
        assert sent.get(timeout=20) == [
            "User ada l.",
            [1, {"group": "Group editors"}],
            {"other": "User ada l.", "plain": {"a": [None]}},
        ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_an_asynchronous_task_gets_it_too(app: Umbel, pool: str) -> None:
    @app.task(name="name_of")
    async def name_of(user: User) -> str:
        return user.username

    sent = name_of.delay(ref(User.objects.create(username="ada")))
    with start_worker(app, pool=pool):
        assert sent.get(timeout=20) == "ada"


@pytest.mark.django_db
def test_a_direct_call_and_an_eager_one_get_the_row(app: Umbel, show: Any) -> None:
    user = User.objects.create(username="ada")
    assert show(ref(user)) == ["User ada", {}]
    assert show.apply((ref(user),)).get() == ["User ada", {}]
    app.conf.task_always_eager = True
    assert show.delay(ref(user)).get() == ["User ada", {}]


@pytest.mark.django_db
def test_rows_of_one_model_are_read_together(show: Any, django_assert_num_queries: Any) -> None:
    users = User.objects.bulk_create([User(username=f"user{n}") for n in range(250)])
    forms = [ref(user) for user in users]
    with django_assert_num_queries(2):  # 200 at a time
        (shown, _) = show(forms)
    assert shown == [f"User user{n}" for n in range(250)]


@pytest.mark.django_db
def test_the_message_holds_plain_json(app: Umbel, show: Any) -> None:
    user = User.objects.create(username="ada")
    frame = app.client.prepare("show", (ref(user),), {}).outgoing.frame
    args, _, _ = json.loads(frame.body)
    assert args[0].items() >= {"__ref__": "auth.user", "pk": user.pk, "using": "default"}.items()
    assert b"__type__" not in frame.body


@pytest.mark.django_db
def test_a_row_that_is_gone_fails_by_name(show: Any) -> None:
    user = User.objects.create(username="ada")
    form, pk = ref(user), user.pk
    user.delete()
    ended = show.apply((form,))
    assert ended.state == "FAILURE"
    assert isinstance(ended.result, ObjectGone)
    assert str(ended.result) == (
        f"The auth.User with the primary key {pk} is not in the database 'default': it has been deleted, or was never committed."
    )


@pytest.mark.django_db(transaction=True)
def test_its_failure_can_be_told_by_the_caller(app: Umbel, show: Any) -> None:
    user = User.objects.create(username="ada")
    sent = show.delay(ref(user))
    user.delete()
    with start_worker(app), pytest.raises(ObjectGone, match=r"auth\.User with the primary key"):
        sent.get(timeout=20)


@pytest.mark.django_db
def test_or_it_is_skipped_or_none(show: Any) -> None:
    user = User.objects.create(username="ada")
    skipped, none = ref(user, if_gone="skip"), ref(user, if_gone="none")
    assert show(skipped, none)[:2] == ["User ada", "User ada"]
    user.delete()
    assert show.apply((skipped,)).state == "IGNORED"
    assert show(none)[0] is None


@pytest.mark.django_db
def test_what_was_not_made_by_ref_is_refused(show: Any) -> None:
    one, other = User.objects.create(username="ada"), User.objects.create(username="root")
    with pytest.raises(InvalidReference, match="its signature is wrong"):
        show({**ref(one), "pk": other.pk})  # type: ignore[dict-item]
    with pytest.raises(InvalidReference):
        show({**ref(one), "gone": "none"})  # type: ignore[dict-item]
    harmless = {"__ref__": "auth.user", "pk": 1}
    assert show(harmless)[0] == harmless


@pytest.mark.django_db
def test_an_old_secret_key_is_enough(show: Any) -> None:
    user = User.objects.create(username="ada")
    with override_settings(SECRET_KEY="the old one"):
        form = ref(user)
    with pytest.raises(InvalidReference, match="SECRET_KEY_FALLBACKS"):
        show(form)
    with override_settings(SECRET_KEY_FALLBACKS=["the old one"]):
        assert show(form)[0] == "User ada"


@pytest.mark.django_db
def test_a_model_or_a_database_that_is_not_here(show: Any) -> None:
    from umbel.contrib.django import references

    def signed(label: str, using: str) -> Any:
        target = references._Target(label, 1, using, "fail")
        form = {"__ref__": label, "pk": 1, "using": using}
        return {**form, "sig": references._signer().signature(target.text())}

    with pytest.raises(InvalidReference, match="there is no such model here"):
        show(signed("shop.order", "default"))
    with pytest.raises(InvalidReference, match="database 'archive', which DATABASES does not name"):
        show(signed("auth.user", "archive"))


@pytest.mark.django_db
def test_what_cannot_be_referred_to() -> None:
    with pytest.raises(ValueError, match=r"this auth.User: it has not been saved"):
        ref(User(username="ada"))
    with pytest.raises(TypeError, match=r"not QuerySet .* \[ref\(row\) for row in rows\]"):
        ref(User.objects.all())  # type: ignore[type-var]
    with pytest.raises(TypeError, match="not int 7"):
        ref(7)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="'fail', 'skip' or 'none'"):
        ref(User.objects.create(username="ada"), if_gone="ignore")  # type: ignore[arg-type]


@pytest.mark.django_db
def test_an_instance_is_refused_with_both_remedies(show: Any) -> None:
    user = User.objects.create(username="ada")
    with pytest.raises(
        EncodeError, match=r"use its primary key .* umbel\.contrib\.django\.ref\(\.\.\.\)"
    ) as caught:
        show.delay(7, user)
    assert "args[1] is a django.contrib.auth.models.User (<User: ada>)" in str(caught.value)
    with pytest.raises(EncodeError, match="use a list of primary keys instead"):
        show.delay(User.objects.all())


@pytest.mark.django_db(transaction=True)
@isolate_apps("tests.django.site")
def test_keys_of_other_types(app: Umbel, monkeypatch: pytest.MonkeyPatch) -> None:
    class Order(models.Model):
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)

        class Meta:
            app_label = "site"

    class Line(models.Model):
        pk = models.CompositePrimaryKey("order_id", "number")
        order = models.ForeignKey(Order, models.CASCADE)
        number = models.IntegerField()

        class Meta:
            app_label = "site"

    monkeypatch.setattr(
        "umbel.contrib.django.references._model", {"site.order": Order, "site.line": Line}.__getitem__
    )

    @app.task(name="classes", serializer="msgpack")
    def classes(*rows: models.Model) -> list[str]:
        return [f"{type(row).__name__} {row.pk}" for row in rows]

    with connection.schema_editor() as editor:
        editor.create_model(Order)
        editor.create_model(Line)
    try:
        order = Order.objects.create()
        line = Line.objects.create(order=order, number=3)
        app.conf.task_always_eager = True
        app.conf.task_eager_propagates = True
        assert classes.delay(ref(order), ref(line)).get() == [f"Order {order.pk}", f"Line {line.pk}"]
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Line)
            editor.delete_model(Order)


def test_the_errors_are_among_those_of_tasks() -> None:
    assert issubclass(ObjectGone, umbel.errors.TaskError)
    assert issubclass(InvalidReference, umbel.errors.TaskError)
