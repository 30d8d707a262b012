"""The contract of ``umbel.ports`` as tests, for the author of a backend.

Each class is a set of pytest tests. Subclass those that apply in a test module, under a name that begins with
``Test``, and supply fixtures::

    from umbel.testing.conformance import BrokerConformance, ResultStoreConformance

    @pytest.fixture
    def url(tmp_path):
        return f"sqlite:///{tmp_path}/queue.db"

    class TestMyBroker(BrokerConformance):
        @pytest.fixture
        def make_broker(self, url):
            return lambda: MyBroker(url)

    class TestMyStore(ResultStoreConformance):
        @pytest.fixture
        def make_store(self, url):
            return lambda: MyStore(url)

=================================  =============================================  ============================
class                              for                                            fixtures
=================================  =============================================  ============================
``BrokerConformance``              every broker                                   ``make_broker``
``BrokerProcessConformance``       brokers with ``caps.processes``                ``make_broker``
``UnreadableConformance``          brokers whose store holds bytes                ``make_broker``,
                                                                                  ``inject_garbage``
``ResultStoreConformance``         every result store                             ``make_store``
``ResultStoreProcessConformance``  result stores that several processes share     ``make_store``
``AdoptionConformance``            a broker that adopts a store of its own kind   ``make_broker``, ``make_store``
=================================  =============================================  ============================

``make_broker()`` and ``make_store()`` each return, at every call, a new handle that is not yet open, to the same
store, which is empty when a test begins. ``inject_garbage(queue, data)`` puts bytes where an entry of `queue` lies.
The tests open and close handles themselves, each test in an event loop of its own; no plugin is needed.

Time passes for real here: leases of a tenth of a second end while a test waits for what must happen then. No test
asserts that something was quick beyond "well before the deadline that would otherwise end it".
"""

from __future__ import annotations

import pytest

# So that a failing assertion in the suites shows its values. Before they are imported, or it comes too late.
pytest.register_assert_rewrite(
    "umbel.testing.conformance.harness",
    "umbel.testing.conformance.delivery",
    "umbel.testing.conformance.settling",
    "umbel.testing.conformance.repair",
    "umbel.testing.conformance.presence",
    "umbel.testing.conformance.extras",
    "umbel.testing.conformance.joins",
    "umbel.testing.conformance.results",
)

from umbel.testing.conformance.delivery import DeliveryConformance  # noqa: E402
from umbel.testing.conformance.extras import (  # noqa: E402
    AdoptionConformance,
    BrokerProcessConformance,
    ResultStoreProcessConformance,
    UnreadableConformance,
)
from umbel.testing.conformance.presence import PresenceConformance  # noqa: E402
from umbel.testing.conformance.repair import RepairConformance  # noqa: E402
from umbel.testing.conformance.results import ResultStoreConformance  # noqa: E402
from umbel.testing.conformance.settling import SettlingConformance  # noqa: E402

__all__ = [
    "AdoptionConformance",
    "BrokerConformance",
    "BrokerProcessConformance",
    "ResultStoreConformance",
    "ResultStoreProcessConformance",
    "UnreadableConformance",
]


class BrokerConformance(DeliveryConformance, SettlingConformance, RepairConformance, PresenceConformance):
    """What every broker must do: clauses 1-9 of ``umbel.ports.Broker`` and the docstring of each of its methods."""
