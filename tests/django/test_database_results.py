"""Results that have expired are no results, also before somebody tidies up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from umbel.backends import open_store
from umbel.contrib.django.admin.queue import Queues
from umbel.contrib.django.models import Result
from umbel.contrib.django.project import get_app
from umbel.ports import ListsResults
from umbel.testing.conformance.harness import record


def database(alias: str) -> Any:
    mark = pytest.mark.django_db(transaction=True, databases=[alias], available_apps=["umbel.contrib.django"])
    return pytest.param(alias, marks=mark)


@pytest.mark.parametrize("alias", [database(alias) for alias in ("default", "postgres", "mariadb")])
def test_the_latest_results_are_those_that_have_not_expired(transactional_db: None, alias: str) -> None:
    store = open_store(f"django://{alias}")
    store.put_now([record("kept for ever", ttl=None), record("kept"), record("expired"), record("latest")])
    Result.objects.using(alias).filter(task_id="expired").update(expires_at=datetime(2001, 1, 1, tzinfo=UTC))
    assert isinstance(store, ListsResults)
    expected = ["latest", "kept", "kept for ever"]

    async def latest() -> list[str]:
        await store.open()
        found = [task_id for task_id, _ in await store.recent(limit=3)]
        await store.close()
        return found

    assert asyncio.run(latest()) == expected
    app = get_app()
    with app.conf.overridden(broker_url=store.url, result_backend=store.url):
        try:
            rows = Queues().results(3)
        finally:
            app.close()
    assert rows is not None
    assert [row.task_id for row in rows] == expected
