"""``sqlite:///`` against the contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from umbel.backends import open_broker, open_store
from umbel.ports import Broker, ResultStore
from umbel.testing.conformance import (
    AdoptionConformance,
    BrokerConformance,
    BrokerProcessConformance,
    ResultStoreConformance,
    ResultStoreProcessConformance,
    UnreadableConformance,
)


class SQLiteFixtures:
    options = ""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/queue.db{self.options}"

    @pytest.fixture
    def make_broker(self, url: str) -> Callable[[], Broker]:
        return lambda: open_broker(url)

    @pytest.fixture
    def make_store(self, url: str) -> Callable[[], ResultStore]:
        return lambda: open_store(url)

    @pytest.fixture
    def inject_garbage(self, tmp_path: Path) -> Callable[[str, bytes], None]:
        def inject(queue: str, data: bytes) -> None:
            connection = apsw.Connection(f"{tmp_path}/queue.db")
            connection.execute(
                "INSERT INTO messages (queue, shelf, priority, rank, due, since, task_id, task, frame)"
                " VALUES (?, 0, 0, 1, 1, 1, '', '', ?)",
                (queue, data),
            )
            connection.close()

        return inject


class TestSQLiteBroker(SQLiteFixtures, BrokerConformance, BrokerProcessConformance, UnreadableConformance):
    pass


class TestSQLiteStore(SQLiteFixtures, ResultStoreConformance, ResultStoreProcessConformance):
    pass


class TestSQLiteAdoption(SQLiteFixtures, AdoptionConformance):
    pass


class TestSQLiteBrokerThatPolls(TestSQLiteBroker):
    options = "?wake=poll"


class TestSQLiteStoreThatPolls(TestSQLiteStore):
    options = "?wake=poll"
