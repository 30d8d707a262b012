"""For tests of programs that use Umbel, and of backends.

``start_worker`` runs a worker inside the test's process. ``umbel.testing.conformance`` is the contract of brokers and
result stores as a test suite; it needs pytest and is imported by name.
"""

from umbel.testing.worker import InProcessWorker, start_worker

__all__ = ["InProcessWorker", "start_worker"]
