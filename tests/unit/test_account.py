"""The account of a call: what is told of its attempts."""

from __future__ import annotations

import pytest

from umbel.codecs.results import decode_result, encode_result
from umbel.core.account import ACCOUNT_HEADER, Account, Attempt
from umbel.core.outcome import ResultMeta


def test_it_comes_back_from_headers_and_records() -> None:
    account = Account(sent="2030-01-01T00:00:00+00:00", note={"backend": "default"})
    account.begin("one@host", "2030-01-01T00:00:01+00:00")
    account.end("2030-01-01T00:00:02+00:00", "builtins.ValueError", "Traceback …")
    headers = account.in_headers({"tenant": "a"})
    assert headers["tenant"] == "a"
    assert Account.read(headers) == account
    meta = ResultMeta(task_id="1", status="SUCCESS", name="t", account=account.written())
    assert Account.parse(decode_result(encode_result(meta)).account) == account


@pytest.mark.parametrize(
    "value", [None, [], "text", {"attempts": 5}, {"sent": 1}, {"attempts": [{"worker": None}]}]
)
def test_what_is_no_account_is_none(value: object) -> None:
    assert Account.read({ACCOUNT_HEADER: value}) is None
    assert Account.read({}) is None


def test_an_attempt_ends_as_was_said_last() -> None:
    account = Account()
    account.end("now")  # none has begun
    assert account.attempts == []
    account.begin("w", "1")
    account.end("2")
    account.end("3", "builtins.TypeError", "cannot be written")
    assert account.attempts == [
        Attempt(worker="w", began="1", ended="3", error="builtins.TypeError", traceback="cannot be written")
    ]


def test_runs_of_which_nobody_tells_are_added_once() -> None:
    account = Account()
    account.catch_up(1)
    assert account.attempts == []
    account.catch_up(3)  # the third delivery: two were lost
    account.catch_up(3)
    assert [attempt.lost for attempt in account.attempts] == [True, True]
    account.begin("w", "1")
    account.end("2", "umbel.errors.WorkerLostError", "killed", lost=True)  # the node saw that one
    account.catch_up(4)
    assert len(account.attempts) == 3
    account.catch_up(5)
    assert len(account.attempts) == 4


def test_deliveries_are_counted_from_the_last_retry_on() -> None:
    account = Account()
    account.catch_up(2)
    account.begin("w", "1")
    account.end("2", "builtins.ValueError", "again")
    account.catch_up(1)  # the message of the retry
    assert len(account.attempts) == 2
    account.catch_up(2)
    assert [attempt.lost for attempt in account.attempts] == [True, False, True]


def test_it_stays_small() -> None:
    account = Account()
    for number in range(1500):
        account.begin("w", str(number))
        account.end(str(number), "builtins.ValueError", "x" * 100_000)
    assert len(account.attempts) == 1000
    told = [attempt for attempt in account.attempts if attempt.traceback]
    assert len(told) == 20
    assert told == account.attempts[-20:]
    assert all(len(attempt.traceback) < 8_100 for attempt in told)
    assert "characters left out" in told[0].traceback
    account.catch_up(10**9)  # a header may hold anything
    assert len(account.attempts) == 1000
