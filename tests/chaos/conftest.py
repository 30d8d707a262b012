"""Sites for chaos: those of the worker's tests, with a ledger. A broker that joins there joins here."""

from __future__ import annotations

import pytest

from chaos.ledger import Ledger
from worker.conftest import make_site, redis_process, site
from worker.harness import Site

__all__ = ["ledger", "make_site", "redis_process", "site"]


@pytest.fixture
def ledger(site: Site) -> Ledger:
    """The account of a test, on each broker in turn."""
    return Ledger(site)
