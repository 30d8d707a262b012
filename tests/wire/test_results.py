"""Records and exceptions against every record that Celery's workers stored, and against Celery's own reader."""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from typing import Any

import billiard.exceptions
import celery.exceptions
import pytest
from celery import Celery
from celery.backends.base import BaseBackend

from umbel import errors
from umbel.codecs.failures import (
    MAX_TRACEBACK,
    RemoteTraceback,
    exception_from_failure,
    failure_from_exception,
)
from umbel.codecs.results import COMPRESSED_MARK, decode_result, encode_result, state_of
from umbel.core.outcome import EXCEPTION_STATES, Failure, ResultMeta
from umbel.errors import ConfigurationError, ContentDisallowed, DecodeError, EncodeError

from .loading import record, records

RECORDS = records()
BOTH = frozenset({"json", "pickle"})
every_record = pytest.mark.parametrize(
    "data", [data for _, data in RECORDS], ids=[name for name, _ in RECORDS]
)


def serializer_of(data: bytes) -> str:
    return "pickle" if data.startswith(b"\x80") else "json"


@every_record
def test_a_record_is_written_as_celery_wrote_it(data: bytes) -> None:
    serializer = serializer_of(data)
    meta = decode_result(data, serializer, BOTH)
    again = encode_result(meta, serializer, "gzip" if data.startswith(COMPRESSED_MARK) else None)
    assert decode_result(again, serializer, BOTH) == meta
    if not (serializer == "pickle" and meta.status in EXCEPTION_STATES):
        # Celery pickles exceptions whole; we write the portable form, which it reads in every serializer.
        assert again == data
    assert state_of(data, serializer, BOTH) == meta.status


@every_record
def test_a_stored_exception_can_be_raised(data: bytes) -> None:
    meta = decode_result(data, serializer_of(data), BOTH)
    if meta.status not in EXCEPTION_STATES:
        return
    assert isinstance(meta.result, Failure)
    exc = exception_from_failure(meta.result)
    assert type(exc).__name__ == meta.result.exc_type
    assert list(exc.args) == meta.result.exc_message
    if meta.traceback is None:
        assert exc.__cause__ is None
    else:
        assert meta.traceback in str(exc.__cause__)


def meta_of(name: str, number: int = 0) -> ResultMeta:
    return decode_result(record(name, number))


def test_the_fields_of_a_record() -> None:
    assert (meta_of("success").status, meta_of("success").result) == ("SUCCESS", 3)
    assert meta_of("group").group_id is not None
    assert meta_of("chain", 1).parent_id is not None
    children = meta_of("children").children
    assert children is not None
    assert len(children) == 2
    assert meta_of("revoked_waiting").children is None
    extended = meta_of("result_extended_stamped")
    assert (extended.name, extended.args, extended.kwargs) == ("vec.add", [1, 2], {})
    assert (extended.worker, extended.retries, extended.queue) == ("worker@vector", 0, "celery")
    assert extended.stamps == {"customer": "c9"}
    assert meta_of("custom_state").status == "PROGRESS"
    assert meta_of("custom_state").result == {"done": 0, "total": 2}


def test_the_beginning_of_a_record_tells_its_state() -> None:
    # The scripts of the stores look at these bytes: a SUCCESS is never overwritten.
    assert encode_result(ResultMeta(task_id="1", status="SUCCESS")).startswith(b'{"status": "SUCCESS"')
    assert state_of(b'{"status":"SUCCESS"}') == "SUCCESS"
    with pytest.raises(DecodeError, match="expected a mapping with the key 'status'"):
        state_of(b"[]")


@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack", "pickle"])
@pytest.mark.parametrize("compression", [None, "gzip", "zstd", "brotli"])
def test_every_way_of_writing(serializer: str, compression: str | None) -> None:
    meta = ResultMeta(task_id="1", status="SUCCESS", result={"a": [1, None, "é"]}, children=[])
    data = encode_result(meta, serializer, compression)
    assert data.startswith(COMPRESSED_MARK) == (compression is not None)
    assert decode_result(data, serializer, {serializer}) == meta
    failed = ResultMeta(task_id="1", status="FAILURE", result=ValueError("no"))
    again = decode_result(encode_result(failed, serializer, compression), serializer, {serializer})
    assert str(exception_from_failure(again.result)) == "no"


def test_pickle_is_read_only_when_listed() -> None:
    data = record("result_serializer_pickle_success")
    for accept in (None, {"json"}):
        with pytest.raises(ContentDisallowed, match="lets whoever can write messages run any code"):
            decode_result(data, "pickle", accept)
    assert decode_result(data, "pickle", {"pickle"}).status == "SUCCESS"


def test_a_result_that_cannot_be_written_is_named() -> None:
    meta = ResultMeta(task_id="77", status="SUCCESS", result={"rows": [1, {2}]})
    with pytest.raises(EncodeError, match=r"The result of task '77' at \['rows'\]\[1\] is a set \(\{2\}\)"):
        encode_result(meta)
    with pytest.raises(EncodeError, match="The value at"):
        encode_result(ResultMeta(task_id="77", status="SUCCESS", name="t", args=[{2}]))
    with pytest.raises(ConfigurationError, match="no serializer 'xml'"):
        decode_result(b"{}", "xml")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not json"),
        (b"[]", "expected a mapping"),
        (b"{}", "expected a mapping"),
        (COMPRESSED_MARK + b"gzip", "does not say how"),
        (COMPRESSED_MARK + b"rar\0x", "cannot be read here"),
        (COMPRESSED_MARK + b"application/x-gzip\0xx", "is not application/x-gzip"),
    ],
)
def test_records_that_are_none(data: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        decode_result(data)


@pytest.mark.parametrize("stored", [None, "boom", 5, {}, {"exc_type": 5}])
def test_failures_of_other_writers(stored: Any) -> None:
    meta = decode_result(json.dumps({"status": "FAILURE", "result": stored}).encode())
    exc = exception_from_failure(meta.result)
    assert type(exc) is errors.TaskError
    assert exc.args == (() if stored is None else (stored,))
    one = decode_result(b'{"status": "FAILURE", "result": {"exc_type": "ValueError", "exc_message": "x"}}')
    assert repr(exception_from_failure(one.result)) == "ValueError('x')"


# -------------------------------------------------------------------------------------------------- exceptions


class Awkward(ValueError):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(code)
        self.detail = detail

    def __str__(self) -> str:
        return f"awkward {self.detail}"


class Outer:
    class Nested(Exception):
        pass


def travelled(exc: BaseException) -> Exception:
    """`exc` after a way through a store."""
    meta = ResultMeta(task_id="1", status="FAILURE", result=failure_from_exception(exc))
    return exception_from_failure(decode_result(encode_result(meta)).result)


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("no", 42),
        KeyError("missing"),
        FileNotFoundError(2, "No such file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        Outer.Nested("x"),
        json.JSONDecodeError,
        errors.TaskRevokedError("revoked"),
        errors.TimeLimitExceeded(5),
        errors.SoftTimeLimitExceeded(),
        errors.WorkerLostError("signal 9"),
        errors.UnknownSetting("x"),
        ZeroDivisionError(),
    ],
    ids=lambda exc: getattr(type(exc), "__qualname__", "x"),
)
def test_an_exception_comes_back_as_its_own_class(exc: Any) -> None:
    if isinstance(exc, type):
        exc = exc("Expecting value", "doc", 0)
        back = travelled(exc)
        assert isinstance(back, type(exc))  # one whose args are not those of its constructor
        assert back.args == exc.args
        return
    back = travelled(exc)
    assert type(back) is type(exc)
    assert back.args == exc.args
    assert str(back) == str(exc)


def test_a_class_that_refuses_its_args_is_still_caught_by_name() -> None:
    back = travelled(Awkward(7, detail="d"))
    assert isinstance(back, Awkward)
    assert isinstance(back, errors.TaskError)
    assert (back.args, str(back), type(back).__qualname__) == ((7,), "7", "Awkward")


def test_a_class_that_is_not_here() -> None:
    failure = Failure(
        exc_type="Inner.Gone", exc_module="no.such.module", exc_message=["a", 1], traceback=None
    )
    exc = exception_from_failure(failure)
    assert isinstance(exc, errors.TaskError)
    assert (type(exc).__name__, type(exc).__module__, exc.args) == ("Gone", "no.such.module", ("a", 1))
    assert type(exc) is type(exception_from_failure(failure))
    assert failure_from_exception(exc).exc_type == "Inner.Gone"


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("subprocess", "Popen"), ("builtins", "eval"), ("builtins", "SystemExit"), ("os", "path"),
     ("asyncio", "CancelledError"), ("builtins", "KeyboardInterrupt"), ("umbel.errors", "builtins.eval")],
)  # fmt: skip
def test_nothing_but_exceptions_is_ever_called(module: str, name: str) -> None:
    exc = exception_from_failure(
        Failure(exc_type=name, exc_module=module, exc_message=["exit 1"], traceback=None)
    )
    assert isinstance(exc, errors.TaskError)
    assert exc.args == ("exit 1",)


def test_a_failure_imports_nothing(tmp_path: Any) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__main__.py").write_text("print('ran')\n")
    (tmp_path / "shop" / "errors.py").write_text("print('imported')\nclass Broke(Exception):\n    pass\n")
    (tmp_path / "shop" / "__init__.py").write_text(
        "def __getattr__(name):\n    from shop.errors import Broke\n    return Broke\n"
    )
    code = (
        "from umbel.codecs.failures import exception_from_failure as back\n"
        "from umbel.core.outcome import Failure as F\n"
        "def look():\n"
        "    for m in ('shop', 'shop.errors', 'shop.__main__'):\n"
        "        print(type(back(F(exc_type='Broke', exc_module=m, exc_message=[]))).__mro__[1].__name__)\n"
        "look()\n"
        "import shop\n"
        "look()\n"
        "import shop.errors\n"
        "look()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    unknown = ["TaskError"] * 3
    assert done.stdout.splitlines() == [*unknown, *unknown, "imported", "TaskError", "Exception", "TaskError"]


def test_the_remote_traceback_is_shown() -> None:
    def work() -> None:
        try:
            {}["missing"]
        except KeyError as exc:
            raise ValueError("bad") from exc

    try:
        work()
    except ValueError as exc:
        back = travelled(exc)
    assert isinstance(back.__cause__, RemoteTraceback)
    shown = "".join(traceback.format_exception(back))
    assert "KeyError: 'missing'" in shown
    assert 'raise ValueError("bad") from exc' in shown
    assert "direct cause" in shown
    # and once more, when a task re-raises what it got from another one
    assert "KeyError: 'missing'" in "".join(traceback.format_exception(travelled(back)))


def test_args_that_cannot_be_written_become_their_repr() -> None:
    assert failure_from_exception(ValueError({1}, "x", object)).exc_message == [
        "{1}",
        "x",
        "<class 'object'>",
    ]
    assert failure_from_exception(ValueError({1}), serializer="pickle").exc_message == [{1}]


def test_a_broken_exception_still_makes_a_failure() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    failure = failure_from_exception(Broken("x"))
    assert failure.exc_type.endswith("Broken")
    assert failure.traceback is not None
    assert exception_from_failure(failure).args == ("x",)


def test_a_huge_traceback_is_cut() -> None:
    failure = failure_from_exception(ValueError("x" * 1_000_000))
    assert failure.traceback is not None
    assert len(failure.traceback) < MAX_TRACEBACK + 100
    assert "characters left out" in failure.traceback
    assert failure.traceback.startswith("ValueError: xxx")


@pytest.mark.parametrize(
    ("exc", "theirs"),
    [
        (errors.MaxRetriesExceededError("x"), celery.exceptions.MaxRetriesExceededError),
        (errors.TaskRevokedError("revoked"), celery.exceptions.TaskRevokedError),
        (errors.Reject("no", False), celery.exceptions.Reject),
        (errors.Ignore(), celery.exceptions.Ignore),
        (errors.NotRegistered("nope"), celery.exceptions.NotRegistered),
        (errors.TimeoutError("x"), celery.exceptions.TimeoutError),
        (errors.SoftTimeLimitExceeded(), billiard.exceptions.SoftTimeLimitExceeded),
        (errors.TimeLimitExceeded(1), billiard.exceptions.TimeLimitExceeded),
        (errors.WorkerLostError("signal 9"), billiard.exceptions.WorkerLostError),
        (ValueError("no", 42), ValueError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_celery_rebuilds_our_exceptions_as_its_own(exc: Exception, theirs: type[Exception]) -> None:
    data = encode_result(ResultMeta(task_id="1", status="FAILURE", result=exc))
    meta = BaseBackend(Celery("reader", set_as_current=False)).decode_result(data)
    assert type(meta["result"]) is theirs
    back = travelled(theirs(*exc.args))
    assert type(back) is type(exc)
