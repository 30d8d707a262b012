"""Calls that are wrong on purpose, piece by piece: what reads them ends in a call or in an error of the message."""

from __future__ import annotations

import contextlib
import lzma
import tracemalloc

import pytest
from hypothesis import given

from umbel.codecs.compression import decompress
from umbel.codecs.protocol import decode_call, read_header
from umbel.core.envelope import Envelope
from umbel.core.frame import Frame
from umbel.core.kombu_json import dump_frame, load_frame
from umbel.errors import DecodeError, MessageError
from umbel.worker.ipc import Handed, decode_handed, decode_word, encode

from .frames import BOMBS, ZEROS, odd_entries
from .test_fuzz import SAFE, check_marks


@given(odd_entries())
def test_whatever_an_entry_holds(data: bytes) -> None:
    with contextlib.suppress(MessageError):
        frame = load_frame(data)
        check_marks(frame)
        with contextlib.suppress(MessageError):
            read_header(frame)
        with contextlib.suppress(RecursionError):  # the node refuses what it cannot hand over
            said = decode_word(memoryview(encode([Handed(1, frame, 1)]))[4:])
            assert isinstance(said, list)
            assert [decode_handed(raw).frame.task_id for raw in said] == [frame.task_id]
        with contextlib.suppress(RecursionError):  # and buries what it cannot send again
            load_frame(dump_frame(frame, routing_key="q"))
        assert isinstance(decode_call(frame, SAFE, max_size=ZEROS // 4), Envelope)


LAUGHS = b"a: &a [x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (at + 1, at + 1, b",".join([b"*%c" % at] * 10)) for at in range(97, 110)
)
"""A kilobyte of YAML that is a list of 10**13 words to whoever writes it out."""


@pytest.mark.parametrize(
    "frame",
    [
        Frame(b"0x" + b"f" * 5000, "application/x-yaml", "utf-8", {"task": "t", "id": "1"}, {}),
        Frame(LAUGHS, "application/x-yaml", "utf-8", {"task": "t", "id": "1"}, {}),
        Frame(LAUGHS, "application/x-yaml", "utf-8", {}, {}),
        Frame(b"[[],{},{}]", "application/json", "utf-8", {"task": "t", "id": "1", "timelimit": "\ud800"}, {}),
        Frame(b"[[],{},{}]", "application/json", "utf-8", {"task": "t", "id": "1", "compression": 1 << 99_999}, {}),
    ],
    ids=["huge integer", "laughs", "laughs in protocol 1", "time limit", "compression"],
)  # fmt: skip
def test_what_broke_its_reader_once(frame: Frame) -> None:
    with pytest.raises(DecodeError):
        decode_call(frame, SAFE)


def test_half_a_pair_where_an_object_belongs_is_an_error_of_the_message() -> None:
    with pytest.raises(DecodeError, match="not a message as Celery writes it"):
        load_frame(b'{"body": "", "properties": "\\ud800"}')


@pytest.mark.parametrize("method", BOMBS)
def test_a_bomb_is_not_unpacked(method: str) -> None:
    decompress(BOMBS[method], method, max_size=ZEROS)
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="would grow beyond 1000000 bytes"):
            decompress(BOMBS[method], method, max_size=1_000_000)
        # zstd is read a kilobyte at a time, which becomes 32 MiB at most.
        assert tracemalloc.get_traced_memory()[1] < (2.1 if method == "zstd" else 0.5) * ZEROS
    finally:
        tracemalloc.stop()


def test_a_dictionary_of_a_gigabyte_is_not_allocated() -> None:
    data = bytearray(lzma.compress(b"{}", format=lzma.FORMAT_ALONE))
    assert decompress(bytes(data), "lzma") == b"{}"
    data[1:5] = (1 << 30).to_bytes(4, "little")  # where the header says how much memory reading takes
    with pytest.raises(DecodeError, match="Memory usage limit"):
        decompress(bytes(data), "lzma")
