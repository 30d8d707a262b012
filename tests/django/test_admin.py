"""The admin's pages, with each kind of broker behind them: looking, filtering, acting, and who may."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from tests.servers import RedisServer

from umbel import Umbel, portal, shared_task
from umbel.backends.memory import forget_memory
from umbel.contrib.django.admin import queue as admin_queue
from umbel.contrib.django.models import Result
from umbel.contrib.django.project import get_app
from umbel.ports import Bury, Delivery
from umbel.testing import start_worker

pytestmark = pytest.mark.django_db

MESSAGES = "/admin/umbel/message/"
RESULTS = "/admin/umbel/result/"


running = threading.Event()


@shared_task(name="shop.fail")
def fail(x: int) -> None:
    raise ValueError("a <b>bold</b> error")


@shared_task(name="shop.double")
def double(x: int) -> int:
    return 2 * x


@shared_task(name="shop.endless")
async def endless() -> None:
    running.set()
    await asyncio.sleep(600)


@pytest.fixture(params=["memory", "sqlite", "redis"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Umbel]:
    """The project's app, on a queue of the test's own."""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.command("FLUSHALL")
        url = server.url()
    else:
        url = "memory://admin" if request.param == "memory" else f"sqlite:///{tmp_path}/queue.db"
    app = get_app()
    with app.conf.overridden(broker_url=url, result_backend=url, result_extended=True):
        yield app
        app.close()
        forget_memory("admin")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def person(*permissions: str, name: str = "ada", **flags: Any) -> Client:
    """A browser in which somebody is logged in who has these permissions; it checks CSRF tokens."""
    user = User.objects.create_user(name, **{"is_staff": True, **flags})
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def admin() -> Client:
    return person(is_superuser=True)


def send(app: Umbel, task: str = "shop.pay", *args: Any, **options: Any) -> str:
    """A call that is really sent: not on commit, for the test's transaction has none."""
    return app.send_task(task, args, on_commit=False, **options).id


def reserve(app: Umbel, limit: int = 1000, queue: str = "celery") -> list[Delivery]:
    async def hold() -> list[Delivery]:
        await app.broker.open()
        return list(await app.broker.reserve([queue], limit=limit, lease=60, wait=0))

    return portal.run(hold())


def bury(app: Umbel, *task_ids: str, reason: str = "was killed by SIGSEGV") -> None:
    """Send the calls of these ids, and let them be dead letters."""
    for task_id in task_ids:
        send(app, task_id=task_id)
    settlements = [Bury(receipt=held.receipt, reason=reason) for held in reserve(app)]
    portal.run(app.broker.settle(settlements))


def shelf_of(app: Umbel, task_id: str) -> str | None:
    found = portal.run(app.broker.find(task_id))
    return None if found is None else found.shelf


# ------------------------------------------------------------------------------------------------ looking


def test_it_is_in_the_index(app: Umbel, admin: Client) -> None:
    page = admin.get("/admin/").content.decode()
    assert f'href="{MESSAGES}"' in page
    assert f'href="{RESULTS}"' in page
    assert f"{MESSAGES}add/" not in page


def test_the_shelves(app: Umbel, admin: Client) -> None:
    bury(app, "a-dead-one")
    held = send(app, "shop.hold")
    reserve(app)
    waiting = send(app, "shop.pay", 7, "secret", argsrepr="(7, '***')", priority=5)
    send(app, "shop.later", countdown=3600)
    page = admin.get(MESSAGES).content.decode()
    assert "shop.pay" in page
    assert waiting in page
    assert "(7, &#x27;***&#x27;)" in page
    assert "secret" not in page
    # On Redis what is due later lies in its queue, as Celery's does, until a worker has seen it.
    on_redis = app.broker_url.startswith("redis")
    assert f"Waiting ({1 + on_redis})" in page
    for shelf, expected in (
        ("scheduled", "There is nothing" if on_redis else "shop.later"),
        ("held", held),
        ("dead", "a-dead-one"),
        ("parked", "There is nothing"),
    ):
        page = admin.get(MESSAGES, {"shelf": shelf}).content.decode()
        assert expected in page
        assert waiting not in page
    assert "was killed by SIGSEGV" in admin.get(MESSAGES, {"shelf": "dead"}).content.decode()


def test_filters_and_search(app: Umbel, admin: Client) -> None:
    one = send(app, "shop.pay", task_id="aaa-1")
    other = send(app, "shop.ship", task_id="aaa-2", queue="slow")
    third = send(app, "mail.send", task_id="bbb-3")

    def shown(**given: str) -> set[str]:
        page = admin.get(MESSAGES, given).content.decode()
        return {task_id for task_id in (one, other, third) if f">{task_id}<" in page}

    assert shown() == {one, other, third}
    assert shown(queue="slow") == {other}
    assert shown(task="mail.send") == {third}
    assert shown(q="aaa") == {one, other}
    assert shown(q="shop") == {one, other}
    assert shown(q="shop", queue="celery") == {one}
    found = admin.get(MESSAGES, {"q": "bbb-3"})
    assert found.headers["Location"] == reverse("admin:umbel_message_change", args=["bbb_2D3"]).replace(
        "bbb_2D3", "bbb-3"
    )


def test_pages_are_bounded(app: Umbel, admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("queue", "lists"):
        monkeypatch.setattr(f"umbel.contrib.django.admin.{module}.MOST", 100)
    app.send_many([app.signature("shop.pay", (n,), on_commit=False, task_id=f"n{n:03}") for n in range(120)])
    flush(app)
    first = admin.get(MESSAGES).content.decode()
    assert "n000" in first
    assert "n050" not in first
    assert "120 messages" in first
    second = admin.get(MESSAGES, {"p": "2"}).content.decode()
    assert "n050" in second
    assert "n000" not in second
    assert "Only the first 100 can be looked through" in second
    beyond = admin.get(f"{MESSAGES}n110/").content.decode()
    assert "(110,)" in beyond
    revoke = {"shelf": "waiting", "action": "revoke", "selected": "n110"}
    assert "1 call was revoked" in admin.post(f"{MESSAGES}n110/", revoke, follow=True).content.decode()
    for odd in ("999", "-1", "x", "9" * 50):
        assert admin.get(MESSAGES, {"p": odd}).status_code == 200


def flush(app: Umbel) -> None:
    """What was to be sent on commit, is."""
    from umbel.contrib.django.transactions import open_transaction

    connection = open_transaction()
    while connection is not None and connection.run_on_commit:
        connection.run_on_commit.pop(0)[1]()  # type: ignore[misc]


def test_a_tasks_page(app: Umbel, admin: Client) -> None:
    task_id = fail.apply_async((7,), on_commit=False).id
    with start_worker(app):
        app.AsyncResult(task_id).get(timeout=20, propagate=False)
    page = admin.get(f"{MESSAGES}{task_id}/").content.decode()
    assert "shop.fail" in page
    assert "FAILURE" in page
    assert "ValueError: a &lt;b&gt;bold&lt;/b&gt; error" in page
    assert "Traceback" in page
    assert "raise ValueError" in page
    assert "<b>bold" not in page
    later = send(app, "shop.pay", 1, 2, countdown=600, expires=1200, time_limit=30, priority=-7)
    page = admin.get(f"{MESSAGES}{later}/").content.decode()
    for expected in ("(1, 2)", "-7", "Not before", "Expires", "30, -", "application/json"):
        assert expected in page


def test_the_history_of_deliveries(app: Umbel, admin: Client) -> None:
    frame = app.client.prepare("shop.pay", (), {}, {"task_id": "crashed"}).outgoing
    frame.frame.headers["umbel_deliveries"] = 2
    frame.frame.headers["umbel_history"] = [
        {"at": "2026-11-01T10:00:00+00:00", "worker": "w1@host", "what": "was killed by SIGKILL"},
        {"at": "2026-11-01T10:01:00+00:00", "worker": "w2@host", "what": "exited with code 7"},
    ]
    app.broker.send_now([frame])
    portal.run(
        app.broker.settle(
            [Bury(receipt=held.receipt, reason="lost: exited with code 7") for held in reserve(app)]
        )
    )
    page = admin.get(f"{MESSAGES}crashed/").content.decode()
    for expected in ("w1@host", "was killed by SIGKILL", "w2@host", "exited with code 7", "Dead letters"):
        assert expected in page
    admin.post(MESSAGES, {"shelf": "dead", "action": "requeue", "selected": key_of(app, "crashed")})
    assert shelf_of(app, "crashed") == "waiting"
    assert "was killed by SIGKILL" in admin.get(f"{MESSAGES}crashed/").content.decode(), "the history stays"


def key_of(app: Umbel, task_id: str) -> str:
    (key,) = [m.key for m in portal.run(app.broker.browse("dead")) if m.task_id == task_id]
    return key


def test_an_id_that_nobody_knows(app: Umbel, admin: Client) -> None:
    page = admin.get(f"{MESSAGES}nobody/")
    assert page.status_code == 404
    assert "Nothing is known of a call with this id" in page.content.decode()


def test_a_broker_out_of_reach(admin: Client) -> None:
    with get_app().conf.overridden(
        broker_url="redis://127.0.0.1:1/0", result_backend="redis://127.0.0.1:1/0"
    ):
        for url in (MESSAGES, RESULTS, f"{MESSAGES}some-id/"):
            page = admin.get(url)
            assert page.status_code == 503
            assert "127.0.0.1:1" in page.content.decode()
        page = admin.post(MESSAGES, {"shelf": "dead", "action": "requeue", "selected": "1"}, follow=True)
        assert "Nothing was changed" in page.content.decode()


# ------------------------------------------------------------------------------------------------- acting


def test_dead_letters_are_put_back(app: Umbel, admin: Client) -> None:
    bury(app, "one", "two", "three")
    keys = [key_of(app, "one"), key_of(app, "three")]
    page = admin.post(MESSAGES, {"shelf": "dead", "action": "requeue", "selected": keys}, follow=True)
    assert "2 messages were put back into their queues." in page.content.decode()
    assert [shelf_of(app, name) for name in ("one", "two", "three")] == ["waiting", "dead", "waiting"]
    noted = LogEntry.objects.values_list("object_id", "change_message", "user__username")
    assert set(noted) == {(name, "Put back into the queue (dead)", "ada") for name in ("one", "three")}


def test_all_that_match(app: Umbel, admin: Client) -> None:
    bury(app, *(f"dead-{n}" for n in range(60)))
    admin.post(MESSAGES, {"shelf": "dead", "action": "requeue", "across": "1", "task": "shop.other"})
    assert shelf_of(app, "dead-0") == "dead"
    admin.post(MESSAGES, {"shelf": "dead", "action": "requeue", "across": "1", "task": "shop.pay"})
    assert portal.run(app.broker.depth(["celery"]))["celery"].waiting == 60


def test_deleting_asks_first(app: Umbel, admin: Client) -> None:
    bury(app, "one", "two")
    given = {"shelf": "dead", "action": "delete", "selected": key_of(app, "one")}
    page = admin.post(MESSAGES, given)
    assert "Delete this message for good?" in page.content.decode()
    assert shelf_of(app, "one") == "dead"
    page = admin.post(MESSAGES, {**given, "confirmed": "1"}, follow=True)
    assert "1 message was deleted." in page.content.decode()
    assert [shelf_of(app, name) for name in ("one", "two")] == [None, "dead"]


def test_what_is_selected_is_sought_in_the_queue_of_the_list(
    app: Umbel, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umbel.contrib.django.admin.lists.MOST", 60)
    for n in range(70):
        send(app, queue="aa", task_id=f"n{n}")
    chosen = send(app, queue="zz", priority=-5)
    assert chosen in admin.get(MESSAGES, {"queue": "zz"}).content.decode()
    given = {"shelf": "waiting", "queue": "zz", "action": "revoke", "selected": chosen}
    assert "1 call was revoked" in admin.post(MESSAGES, given, follow=True).content.decode()
    assert [held.revoked for held in reserve(app, queue="zz")] == [True]


def test_dead_letters_that_have_moved_back_are_put_back(
    app: Umbel, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newer ones may come before those that somebody has ticked."""
    bury(app, "one", "two", "three")
    keys = {name: key_of(app, name) for name in ("one", "two", "three")}
    monkeypatch.setattr("umbel.contrib.django.admin.lists.MOST", 1)
    for name in ("two", "one", "three"):
        admin.post(MESSAGES, {"shelf": "dead", "action": "requeue", "selected": keys[name]})
        assert shelf_of(app, name) == "waiting"


def test_a_thousand_are_deleted_at_once(app: Umbel, admin: Client) -> None:
    bury(app, *(f"dead-{n}" for n in range(1000)))
    asked = admin.post(MESSAGES, {"shelf": "dead", "action": "delete", "across": "1"}).content.decode()
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', asked))
    page = admin.post(MESSAGES, {name: unescape(value) for name, value in fields.items()}, follow=True)
    assert "1000 messages were deleted." in page.content.decode()


def test_waiting_calls_are_revoked(app: Umbel, admin: Client) -> None:
    task_id = send(app)
    page = admin.post(
        f"{MESSAGES}{task_id}/", {"shelf": "waiting", "action": "revoke", "selected": task_id}, follow=True
    )
    assert "1 call was revoked" in page.content.decode()
    (held,) = reserve(app)
    assert held.revoked


def test_a_running_call_is_stopped(app: Umbel, admin: Client) -> None:
    running.clear()
    result = endless.apply_async(on_commit=False)
    with start_worker(app, pool="asyncio"):
        assert running.wait(20)
        page = admin.get(MESSAGES, {"shelf": "held"}).content.decode()
        assert result.id in page
        admin.post(MESSAGES, {"shelf": "held", "action": "terminate", "selected": result.id})
        result.get(timeout=20, propagate=False)
    assert result.state == "REVOKED"


def test_actions_that_are_none(app: Umbel, admin: Client) -> None:
    bury(app, "one")
    for given, said in (
        ({"shelf": "dead", "action": "revoke", "selected": "1"}, "No action selected."),
        ({"shelf": "dead", "selected": "1"}, "No action selected."),
        ({"shelf": "moon", "action": "delete", "selected": "1"}, "No action selected."),
        ({"shelf": "dead", "action": "requeue"}, "Items must be selected"),
        ({"shelf": "dead", "action": "requeue", "selected": "no-such-key"}, "Items must be selected"),
    ):
        assert said in admin.post(MESSAGES, given, follow=True).content.decode()
    assert shelf_of(app, "one") == "dead"


# ------------------------------------------------------------------------------------------------ results


def test_results(app: Umbel, admin: Client) -> None:
    good, bad = double.apply_async((21,), on_commit=False), fail.apply_async((1,), on_commit=False)
    with start_worker(app):
        assert good.get(timeout=20) == 42
        bad.get(timeout=20, propagate=False)
    page = admin.get(RESULTS).content.decode()
    assert good.id in page
    assert bad.id in page
    assert "ValueError: a &lt;b&gt;bold" in page
    page = admin.get(RESULTS, {"state": "FAILURE"}).content.decode()
    assert bad.id in page
    assert good.id not in page
    assert admin.get(RESULTS, {"q": good.id}).status_code == 302
    page = admin.get(f"{RESULTS}{good.id}/").content.decode()
    for expected in ("SUCCESS", "shop.double", "[21]", "42"):
        assert expected in page
    page = admin.post(RESULTS, {"action": "retry", "selected": [good.id]}, follow=True).content.decode()
    assert "1 call was sent again." in page
    flush(app)
    assert [m.task for m in portal.run(app.broker.browse("waiting"))] == ["shop.double"]
    page = admin.post(RESULTS, {"action": "delete", "selected": [good.id]}, follow=True).content.decode()
    assert "1 result was deleted." in page
    assert good.id not in admin.get(RESULTS).content.decode().replace(f"/{good.id}/", "")


def test_a_result_that_does_not_say_what_was_called(app: Umbel, admin: Client) -> None:
    with app.conf.overridden(result_extended=False), start_worker(app):
        result = double.apply_async((21,), on_commit=False)
        assert result.get(timeout=20) == 42
    page = admin.post(f"{RESULTS}{result.id}/", {"action": "retry"}, follow=True).content.decode()
    assert "Not sent again" in page
    assert "result_extended" in page


@pytest.mark.django_db(transaction=True)
def test_on_the_projects_own_database(admin: Client) -> None:
    app = get_app()
    with app.conf.overridden(
        broker_url="django://default", result_backend="django://default", result_extended=True
    ):
        bury(app, "one")
        page = admin.get(MESSAGES, {"shelf": "dead"}).content.decode()
        assert "was killed by SIGSEGV" in page
        requeue = {"shelf": "dead", "action": "requeue", "selected": key_of(app, "one")}
        assert "1 message was put back" in admin.post(MESSAGES, requeue, follow=True).content.decode()
        assert shelf_of(app, "one") == "waiting"
        result = double.delay(21)
        with start_worker(app):
            assert result.get(timeout=20) == 42
        assert result.id in admin.get(RESULTS, {"state": "SUCCESS"}).content.decode()
        assert "42" in admin.get(f"{RESULTS}{result.id}/").content.decode()
        (row,) = admin_queue.Queues().results(10) or ()
        assert row.meta is not None
        assert (row.meta.name, row.meta.status) == ("shop.double", "SUCCESS")
        assert (row.meta.args, row.meta.result) == (None, None), "a list holds no more than it shows"
        Result.objects.update(expires_at=datetime.now(UTC))
        assert result.id not in admin.get(RESULTS).content.decode()
        app.close()


# ------------------------------------------------------------------------------------------------ who may


@pytest.fixture
def memory_app(tmp_path: Path) -> Iterator[Umbel]:
    app = get_app()
    with app.conf.overridden(broker_url="memory://admin", result_backend="memory://admin"):
        yield app
        app.close()
        forget_memory("admin")


def test_nobody_without_permission(memory_app: Umbel) -> None:
    bury(memory_app, "one")
    key = key_of(memory_app, "one")
    stranger, visitor = Client(), person(name="visitor", is_staff=False)
    for client in (stranger, visitor):
        assert client.get(MESSAGES).status_code == 302, "to the log-in"
        assert (
            client.post(MESSAGES, {"shelf": "dead", "action": "requeue", "selected": key}).status_code == 302
        )
    staff = person(name="staff")
    for url in (MESSAGES, RESULTS, f"{MESSAGES}one/", f"{RESULTS}one/"):
        assert staff.get(url).status_code == 403
    assert shelf_of(memory_app, "one") == "dead"


def test_each_permission_for_itself(memory_app: Umbel) -> None:
    bury(memory_app, "one")
    key = key_of(memory_app, "one")
    requeue = {"shelf": "dead", "action": "requeue", "selected": key}
    delete = {"shelf": "dead", "action": "delete", "selected": key, "confirmed": "1"}
    viewer = person("view_message", name="viewer")
    page = viewer.get(MESSAGES, {"shelf": "dead"}).content.decode()
    assert "one" in page
    assert 'name="action"' not in page
    assert viewer.post(MESSAGES, requeue).status_code == 403
    assert viewer.post(MESSAGES, delete).status_code == 403
    assert viewer.get(RESULTS).status_code == 403
    changer = person("view_message", "change_message", name="changer")
    assert "Put back into the queue" in changer.get(MESSAGES, {"shelf": "dead"}).content.decode()
    assert changer.post(MESSAGES, delete).status_code == 403
    deleter = person("view_message", "delete_message", name="deleter")
    assert deleter.post(MESSAGES, requeue).status_code == 403
    assert shelf_of(memory_app, "one") == "dead"
    assert changer.post(MESSAGES, requeue).status_code == 302
    assert shelf_of(memory_app, "one") == "waiting"
    reader = person("view_result", name="reader")
    assert reader.get(RESULTS).status_code == 200
    assert reader.post(RESULTS, {"action": "delete", "selected": "x"}).status_code == 403


def test_each_half_of_a_page_to_those_who_may_see_it(memory_app: Umbel) -> None:
    with memory_app.conf.overridden(result_extended=True), start_worker(memory_app):
        result = double.apply_async((4111,), argsrepr="('****',)", on_commit=False)
        assert result.get(timeout=20) == 8222
    waiting = send(memory_app, "shop.later", countdown=600, argsrepr="('****',)")
    operator, auditor = person("view_message", name="operator"), person("view_result", name="auditor")
    for task_id in (result.id, waiting):
        page = operator.get(f"{MESSAGES}{task_id}/").content.decode()
        assert "4111" not in page
        assert "8222" not in page
    assert operator.get(f"{MESSAGES}{result.id}/").status_code == 404, "nor that there is a result"
    assert operator.get(MESSAGES, {"q": result.id}).status_code == 200
    assert "shop.later" in operator.get(f"{MESSAGES}{waiting}/").content.decode()
    assert "8222" in auditor.get(f"{RESULTS}{result.id}/").content.decode()
    assert "shop.later" not in auditor.get(f"{RESULTS}{waiting}/").content.decode()
    both = person("view_message", "view_result", name="both")
    assert "8222" in both.get(f"{MESSAGES}{result.id}/").content.decode()


def test_csrf_and_get(memory_app: Umbel, admin: Client) -> None:
    bury(memory_app, "one")
    key = key_of(memory_app, "one")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="ada"))
    assert strict.post(MESSAGES, {"shelf": "dead", "action": "requeue", "selected": key}).status_code == 403
    admin.get(MESSAGES, {"shelf": "dead", "action": "requeue", "selected": key})
    assert shelf_of(memory_app, "one") == "dead"


def test_what_is_read_is_never_unpickled(memory_app: Umbel, admin: Client) -> None:
    with memory_app.conf.overridden(result_serializer="pickle", result_accept_content=["pickle"]):
        page = admin.get(RESULTS)
        assert page.status_code == 200
    assert "pickle" not in admin_queue._READABLE
