"""The pure heart: what becomes of each ending, and when a retry comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.core.policy import Decision, Ending, Rules, backoff, decide

TABLE: list[tuple[Ending, str, str, str]] = [
    ("success", "ack", "SUCCESS", "callbacks"),
    ("failure", "ack", "FAILURE", "errbacks"),
    ("retry", "retry", "RETRY", ""),
    ("ignored", "ack", "", ""),
    ("rejected", "bury", "FAILURE", ""),
    ("revoked", "bury", "REVOKED", ""),
    ("expired", "bury", "REVOKED", ""),
    ("refused", "bury", "FAILURE", "errbacks"),
    ("unknown", "park", "", ""),
    ("timeout", "bury", "FAILURE", "errbacks"),
    ("interrupted", "release", "", ""),
]


@pytest.mark.parametrize(("ending", "settle", "state", "follow"), TABLE, ids=[row[0] for row in TABLE])
def test_what_becomes_of_an_ending(ending: Ending, settle: str, state: str, follow: str) -> None:
    for deliveries in (1, 3, 100):
        assert decide(ending, Rules(), deliveries=deliveries) == Decision(settle, state, follow)  # type: ignore[arg-type]


@pytest.mark.parametrize("most", [1, 2, 3, 10])
def test_a_lost_call_is_run_again_until_its_deliveries_are_used_up(most: int) -> None:
    rules = Rules(max_deliveries=most)
    for deliveries in range(1, most):
        assert decide("lost", rules, deliveries=deliveries) == Decision("retry")
    for deliveries in (most, most + 1):
        assert decide("lost", rules, deliveries=deliveries) == Decision("bury", "FAILURE", "errbacks")


def test_a_rejected_call_that_is_put_back_counts() -> None:
    assert decide("rejected", Rules(), requeue=True) == Decision("release", counted=True)
    assert decide("interrupted", Rules()).counted is False


def test_requeue_means_nothing_for_other_endings() -> None:
    for ending, *_ in TABLE:
        if ending != "rejected":
            assert decide(ending, Rules(), requeue=True) == decide(ending, Rules())


@pytest.mark.parametrize("errors", [False, True])
def test_an_ignored_result_leaves_no_state_but_changes_nothing_else(errors: bool) -> None:
    rules = Rules(ignore_result=True, store_errors_even_if_ignored=errors)
    for ending, settle, state, follow in TABLE:
        decision = decide(ending, rules)
        assert (decision.settle, decision.follow) == (settle, follow)
        assert decision.state == (state if errors and state == "FAILURE" else "")
    lost = decide("lost", rules, deliveries=3)
    assert lost.state == ("FAILURE" if errors else "")


# -- backoff


def test_backoff_doubles_up_to_its_maximum() -> None:
    delays = [backoff(n, factor=3, maximum=50, jitter=False, chance=0.5) for n in range(7)]
    assert delays == [3, 6, 12, 24, 48, 50, 50]


def test_backoff_takes_any_number_of_retries() -> None:
    assert backoff(10**9, factor=1, maximum=600, jitter=False, chance=0) == 600


@given(
    st.integers(0, 200),
    st.floats(0.001, 1e4),
    st.floats(0.001, 1e6),
    st.booleans(),
    st.floats(0, 1, exclude_max=True),
)
def test_backoff_stays_within_its_bounds(
    retries: int, factor: float, maximum: float, jitter: bool, chance: float
) -> None:
    assert 0 <= backoff(retries, factor=factor, maximum=maximum, jitter=jitter, chance=chance) <= maximum


def test_jitter_spreads_over_the_upper_half_of_the_delay() -> None:
    spread = [backoff(4, factor=1, maximum=600, jitter=True, chance=n / 100) for n in range(100)]
    assert spread == sorted(set(spread))
    assert (min(spread), max(spread)) == (8, 15.92)
