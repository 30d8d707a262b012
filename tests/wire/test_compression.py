"""Compression, both ways with kombu, and what must not be unpacked."""

from __future__ import annotations

import gzip
import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu import compression as kombu_compression

from umbel.codecs import compression, serializers
from umbel.errors import ConfigurationError, DecodeError

METHODS = ["gzip", "bzip2", "lzma", "zstd", "brotli"]
every_method = pytest.mark.parametrize("method", METHODS)


@every_method
@given(data=st.binary(max_size=2000))
def test_there_and_back(method: str, data: bytes) -> None:
    content_type, packed = compression.compress(data, method)
    assert compression.decompress(packed, content_type) == data
    assert compression.decompress(packed, method) == data


@pytest.mark.parametrize("name", ["gzip", "zlib", "bzip2", "bzip", "lzma", "xz", "brotli"])
def test_kombu_reads_ours_and_we_read_kombus(name: str) -> None:
    data = b"umbel " * 100
    theirs, content_type = kombu_compression.compress(data, name)
    assert compression.content_type_of(name) == content_type
    assert compression.decompress(theirs, content_type) == data
    assert kombu_compression.decompress(compression.compress(data, name)[1], content_type) == data


def test_real_gzip_files_are_read_too() -> None:
    assert compression.decompress(gzip.compress(b"abc"), "application/x-gzip") == b"abc"


@every_method
def test_growth_is_bounded(method: str) -> None:
    packed = compression.compress(bytes(40_000_000), method)[1]
    assert len(packed) < 100_000
    with pytest.raises(DecodeError, match="would grow beyond 1000000 bytes"):
        compression.decompress(packed, method, max_size=1_000_000)
    assert len(compression.decompress(packed, method)) == 40_000_000
    exactly = compression.compress(bytes(1000), method)[1]
    assert len(compression.decompress(exactly, method, max_size=1000)) == 1000
    with pytest.raises(DecodeError):
        compression.decompress(exactly, method, max_size=999)


@every_method
def test_what_is_cut_short_or_broken_is_refused(method: str) -> None:
    packed = compression.compress(bytes(range(256)) * 40, method)[1]
    for broken in (packed[:-5], packed[:3], b"", b"\x00nonsense"):
        with pytest.raises(DecodeError):
            compression.decompress(broken, method)


def test_unknown_methods() -> None:
    with pytest.raises(
        ConfigurationError,
        match="Known compressions: brotli, bzip, bzip2, gzip, lzma, xz, zlib, zstandard, zstd",
    ):
        compression.compress(b"", "rar")
    with pytest.raises(DecodeError, match="cannot be read here: There is no compression 'rar'"):
        compression.decompress(b"", "rar")


@pytest.mark.parametrize(
    ("module", "extra"),
    [("zstandard", "compression"), ("brotli", "compression"), ("yaml", "yaml"), ("msgpack", "msgpack")],
)
def test_a_missing_driver_is_named_with_its_extra(
    module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name == module:
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    remedy = rf"{module} is not installed\. Install it with: pip install 'umbel\[{extra}\]'"
    name = {"zstandard": "zstd"}.get(module, module)
    if extra == "compression":
        with pytest.raises(ConfigurationError, match=remedy):
            compression.compress(b"", name)
        with pytest.raises(DecodeError, match=remedy):
            compression.decompress(b"", name)
        return
    with pytest.raises(ConfigurationError, match=remedy):
        serializers.encode([1], name)
    with pytest.raises(DecodeError, match=remedy):
        serializers.decode(b"", serializers.check_serializer(name).content_type, accept={name})


def test_names_of_accepted_content() -> None:
    assert serializers.accepted_types(["json", "application/x-yaml"]) == {
        "application/json",
        "application/x-yaml",
    }
    with pytest.raises(ConfigurationError, match="no serializer 'jsom'"):
        serializers.accepted_types(["jsom"])
    assert serializers.decode(b"[1]", "application/json; charset=utf-8", accept=["application/json"]) == [1]
