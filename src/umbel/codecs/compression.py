"""Compression of bodies and results, by the names and content types that kombu gave them.

======  =======================  =============================================
name    content type             data
======  =======================  =============================================
gzip    application/x-gzip       a zlib stream, not a gzip file (kombu's way);
                                 gzip files of other clients are read too
bzip2   application/x-bz2        a bzip2 file
lzma    application/x-lzma       an xz file
zstd    application/zstd         a zstd frame; needs ``umbel[compression]``
brotli  application/x-brotli     a brotli stream; needs ``umbel[compression]``
======  =======================  =============================================

``zlib``, ``bzip``, ``xz`` and ``zstandard`` are other names of the same.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from umbel.errors import ConfigurationError, DecodeError

__all__ = ["MAX_SIZE", "compress", "content_type_of", "decompress", "names"]

MAX_SIZE = 256 * 1024 * 1024
"""Bytes that one body may grow to. A few kilobytes can be made to claim terabytes; this is where reading stops."""


_DICTIONARY = 256 * 1024 * 1024
"""Bytes of memory that an xz header may ask for; the highest level of compression needs 65 MiB."""


class _Method(NamedTuple):
    content_type: str
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int], tuple[bytes, bool]]
    """(data, limit) -> the first bytes, at least limit of them if there are so many; whether the stream ended."""


class _DriverMissing(Exception):
    """The third-party module of a method is not installed; the text says how to install it."""


def _driver(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise _DriverMissing(
            f"{module} is not installed. Install it with: pip install 'umbel[compression]'"
        ) from None


def _unzip(data: bytes, limit: int) -> tuple[bytes, bool]:
    stream = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # 32: finds out whether zlib or gzip
    return stream.decompress(data, limit), stream.eof


def _unbzip2(data: bytes, limit: int) -> tuple[bytes, bool]:
    stream = bz2.BZ2Decompressor()
    return stream.decompress(data, limit), stream.eof


def _unlzma(data: bytes, limit: int) -> tuple[bytes, bool]:
    stream = lzma.LZMADecompressor(memlimit=_DICTIONARY)
    return stream.decompress(data, limit), stream.eof


def _zstd(data: bytes) -> bytes:
    compressed: bytes = _driver("zstandard").ZstdCompressor().compress(data)
    return compressed


def _unzstd(data: bytes, limit: int) -> tuple[bytes, bool]:
    # The driver has no limit for one call, so it gets little at a time: 1 KiB becomes 32 MiB at most.
    stream = _driver("zstandard").ZstdDecompressor().decompressobj()
    parts: list[bytes] = []
    size = 0
    for start in range(0, len(data), 1024):
        if stream.eof or size >= limit:
            break
        parts.append(stream.decompress(data[start : start + 1024]))
        size += len(parts[-1])
    return b"".join(parts), stream.eof


def _brotli(data: bytes) -> bytes:
    compressed: bytes = _driver("brotli").compress(data)
    return compressed


def _unbrotli(data: bytes, limit: int) -> tuple[bytes, bool]:
    stream = _driver("brotli").Decompressor()
    parts = [stream.process(data, output_buffer_limit=limit)]
    size = len(parts[0])
    while size < limit and not stream.is_finished():
        part = stream.process(b"", output_buffer_limit=limit - size)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts), stream.is_finished()


_METHODS = {
    "gzip": _Method("application/x-gzip", zlib.compress, _unzip),
    "bzip2": _Method("application/x-bz2", bz2.compress, _unbzip2),
    "lzma": _Method("application/x-lzma", lzma.compress, _unlzma),
    "zstd": _Method("application/zstd", _zstd, _unzstd),
    "brotli": _Method("application/x-brotli", _brotli, _unbrotli),
}
_ALIASES = {"zlib": "gzip", "bzip": "bzip2", "xz": "lzma", "zstandard": "zstd"}
_BY_TYPE = {method.content_type: name for name, method in _METHODS.items()}


def names() -> list[str]:
    """The names that ``compression=`` takes."""
    return sorted({*_METHODS, *_ALIASES})


def content_type_of(compression: str) -> str:
    """The content type of a method. Raises ``ConfigurationError`` with the known names when there is none.

    >>> content_type_of("zlib")
    'application/x-gzip'
    """
    return _METHODS[_name(compression)].content_type


def _name(compression: str) -> str:
    name = _BY_TYPE.get(compression) or _ALIASES.get(compression, compression)
    if name not in _METHODS:
        raise ConfigurationError(
            f"There is no compression {compression!r}. Known compressions: {', '.join(names())}."
        )
    return name


def compress(data: bytes, compression: str) -> tuple[str, bytes]:
    """`data` compressed by the method of that name or content type, as content type and bytes.

    Raises ``ConfigurationError`` for a method that is unknown or whose driver is not installed.
    """
    method = _METHODS[_name(compression)]
    try:
        return method.content_type, method.compress(data)
    except _DriverMissing as exc:
        raise ConfigurationError(f"compression={compression!r}: {exc}") from None


def decompress(data: bytes, compression: str, *, max_size: int = MAX_SIZE) -> bytes:
    """What `data` was before it was compressed by the method of that name or content type.

    Raises ``DecodeError`` when the method is unknown or its driver is missing, when `data` is broken or cut short,
    and when it would grow beyond `max_size` bytes.
    """
    try:
        method = _METHODS[_name(compression)]
        plain, ended = method.decompress(data, max_size + 1)
    except (ConfigurationError, _DriverMissing) as exc:
        raise DecodeError(f"The data is compressed as {compression} and cannot be read here: {exc}") from None
    except Exception as exc:
        raise DecodeError(f"The data is not {compression}, as its compression header says: {exc}") from exc
    if len(plain) > max_size:
        raise DecodeError(
            f"The {len(data)} bytes of {compression} data would grow beyond {max_size} bytes; reading stopped there."
        )
    if not ended:
        raise DecodeError(f"The {compression} data ends too early: {len(data)} bytes came.")
    return plain
