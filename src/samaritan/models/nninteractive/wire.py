"""Arrays on nnInteractive's wire: the format NNIA, version 1, which uploads and answers carry.

Little endian, without padding::

    magic "NNIA" | u8 version | u8 codec | u8 axes | u8 length of the type's name | name | axes x i64 shape
    u32 number of chunks | for each: u64 bytes plain | u64 bytes packed | packed bytes (a blosc2 chunk)

What comes from a server is not trusted. Nothing is allocated before the announced size was compared with what the
caller allows, and a chunk reaches blosc2 only if its header asks for no more than the format does: its own codecs,
plain or shuffled bytes, no dictionary, no plug-in, no file behind it. There is no pickle anywhere in it.
"""

from __future__ import annotations

import math
import struct
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError, ImageError, MissingExtraError, ResourceError

EXTRA = "nninteractive"
CHUNK_BYTES = 1 << 30  # blosc2 counts the bytes of one call in 31 bits

_MAGIC, _VERSION, _ZSTD, _LZ4 = b"NNIA", 1, 1, 2
_HEAD = struct.Struct("<4s4B")
_COUNT = struct.Struct("<I")
_LENGTHS = struct.Struct("<QQ")
_TYPES = frozenset(
    ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
)
_MOST_AXES = 8
_LEVEL = 3  # of compression: as the format's own client has it

# Of a blosc2 chunk's header of 32 bytes.
_CHUNK_HEADER = struct.Struct("<4B3I6s2B6s2B")
_EXTENDED = 0b101  # in the flags: both bits together tell blosc2's header from that of its predecessor
_STORED = 0b10  # in the flags: the bytes are not compressed, and the codec means nothing
_CODECS = (1, 4)  # LZ4, ZSTD, in the flags' top three bits
_FILTERS = frozenset((0, 1, 2))  # none, bytes shuffled, bits shuffled
_ALL_ZERO = 0x10  # the one special form that compressing makes: no data, as all is zero


def largest_body(nbytes: int) -> int:
    """Return how many bytes the body for an array of ``nbytes`` has at most, packed as badly as can be."""
    chunks = _chunks(nbytes)
    head = _HEAD.size + 255 + 255 * 8 + _COUNT.size
    return head + chunks * (_LENGTHS.size + 2 * _CHUNK_HEADER.size) + nbytes


def encode(array: NDArray[Any]) -> bytes:
    """Return ``array`` in the wire's format.

    Raises
    ------
    ImageError
        If its type is not one that the format carries.
    MissingExtraError
        If blosc2 is not installed.
    """
    if array.dtype.name not in _TYPES:
        raise ImageError(got=f"an array of {array.dtype} to send", wanted=f"one of: {', '.join(sorted(_TYPES))}")
    whole = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    name = array.dtype.name.encode("ascii")
    parts = [
        _HEAD.pack(_MAGIC, _VERSION, _ZSTD, array.ndim, len(name)),
        name,
        struct.pack(f"<{array.ndim}q", *array.shape),
        _COUNT.pack(_chunks(whole.nbytes)),
    ]
    raw = whole.reshape(-1).view(np.uint8)
    for start in range(0, raw.size, CHUNK_BYTES):
        plain = raw[start : start + CHUNK_BYTES]
        packed = _packed(plain, whole.itemsize)
        parts += [_LENGTHS.pack(plain.size, len(packed)), packed]
    return b"".join(parts)


def decode(body: bytes, *, max_bytes: int) -> NDArray[Any]:
    """Return the array in ``body``.

    Parameters
    ----------
    body
        In the wire's format, from anyone.
    max_bytes
        What the array may take; checked before any of it is allocated.

    Raises
    ------
    CorruptFileError
        If the body is not in the format, contradicts itself or stops early.
    ResourceError
        If the array is larger than ``max_bytes``.
    MissingExtraError
        If blosc2 is not installed.
    """
    reader = _Reader(body)
    dtype, shape = _header(reader)
    nbytes = math.prod(shape) * dtype.itemsize  # Python's integers: nothing wraps around
    if nbytes > max_bytes:
        raise ResourceError(got=f"an array of {nbytes} bytes from the server", wanted=f"at most {max_bytes}")
    (chunks,) = reader.take(_COUNT)
    raw = np.zeros(nbytes, np.uint8)  # zeros: whatever a chunk leaves out, no old memory shows through
    filled = 0
    for _ in range(chunks):  # as many as are said, but each takes bytes of the body, which is no longer than it is
        filled += _unpack(reader, raw[filled:], dtype.itemsize)
    if filled != nbytes or reader.left:
        raise _corrupt(got=f"{filled} bytes in chunks, {reader.left} after them", wanted=f"{nbytes}, none after them")
    if dtype == np.bool_:  # a byte may hold anything, a boolean must be 0 or 1
        return np.asarray(raw.reshape(shape) != 0)
    return raw.view(dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)


class _Reader:
    """Takes pieces off the front of a body; a body that stops early is corrupt."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = memoryview(body), 0

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def bytes(self, count: int) -> memoryview:
        if count > self.left:
            raise _corrupt(got=f"a body that stops {count - self.left} bytes early", wanted="all of it")
        self._at += count
        return self._body[self._at - count : self._at]

    def take(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self.bytes(form.size))


def _header(reader: _Reader) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic, version, codec, axes, length = reader.take(_HEAD)
    if magic != _MAGIC or version != _VERSION or codec not in (_ZSTD, _LZ4):
        raise _corrupt(
            got=f"a body that begins with {magic!r}, version {version}, codec {codec}",
            wanted=f"{_MAGIC!r}, version {_VERSION}, codec {_ZSTD} or {_LZ4}",
        )
    if axes > _MOST_AXES:
        raise _corrupt(got=f"an array of {axes} axes", wanted=f"at most {_MOST_AXES}")
    name = bytes(reader.bytes(length)).decode("ascii", errors="replace")
    if name not in _TYPES:
        raise _corrupt(got=f"an array of type {name!r}", wanted=f"one of: {', '.join(sorted(_TYPES))}")
    shape = reader.take(struct.Struct(f"<{axes}q"))
    if min(shape, default=0) < 0:
        raise _corrupt(got=f"an array of shape {shape}", wanted="no negative size")
    return np.dtype(name), shape


def _unpack(reader: _Reader, target: NDArray[np.uint8], itemsize: int) -> int:
    """Unpack the next chunk to the front of ``target``; return how many bytes it had."""
    plain, packed = reader.take(_LENGTHS)
    if not 0 < plain <= min(target.size, CHUNK_BYTES) or plain % itemsize:
        raise _corrupt(got=f"a chunk of {plain} bytes", wanted=f"1 to {target.size}, whole items of {itemsize}")
    chunk = bytes(reader.bytes(packed))
    _require_harmless(chunk, plain)
    blosc2 = blosc2_module()
    try:
        if blosc2.get_cbuffer_sizes(chunk)[:2] != (plain, packed):
            raise _corrupt(got="a chunk whose own header tells other sizes", wanted=f"{plain} bytes in {packed}")
        blosc2.decompress2(chunk, dst=target[:plain])
    except (RuntimeError, ValueError, TypeError) as error:
        raise _corrupt(got="a chunk that cannot be unpacked", wanted="what blosc2 packed") from error
    return int(plain)


def _require_harmless(chunk: bytes, plain: int) -> None:
    """Refuse a chunk whose header asks blosc2 for more than packing for this format ever does."""
    if len(chunk) < _CHUNK_HEADER.size:
        raise _corrupt(got=f"a chunk of {len(chunk)} bytes", wanted=f"a header of {_CHUNK_HEADER.size} at least")
    (_, _, flags, typesize, nbytes, blocksize, cbytes, filters, _, _, _, _, special) = _CHUNK_HEADER.unpack_from(chunk)
    known = flags & _EXTENDED == _EXTENDED and (flags & _STORED or flags >> 5 in _CODECS)
    sizes = nbytes == plain and cbytes == len(chunk) and 0 < blocksize <= plain and typesize
    if not (known and sizes and set(filters) <= _FILTERS and special in (0, _ALL_ZERO)):
        raise _corrupt(got="a chunk packed in a way that is not of this format", wanted="ZSTD or LZ4, at most shuffled")


def _packed(plain: NDArray[np.uint8], itemsize: int) -> bytes:
    blosc2 = blosc2_module()
    # The size of an item is told even where bytes are not shuffled: without it blosc2 cannot read back an all-zero
    # buffer whose length its default of 8 does not divide.
    shuffle = blosc2.Filter.SHUFFLE if itemsize > 1 else blosc2.Filter.NOFILTER
    packed: bytes = blosc2.compress2(
        plain, typesize=itemsize, codec=blosc2.Codec.ZSTD, clevel=_LEVEL, filters=[shuffle]
    )
    return packed


def _chunks(nbytes: int) -> int:
    return -(-nbytes // CHUNK_BYTES)


def _corrupt(*, got: str, wanted: str) -> CorruptFileError:
    return CorruptFileError(
        got=f"{got}, in what the server sent",
        wanted=wanted,
        fix="See that the address is that of an nnInteractive 2 server",
    )


def blosc2_module() -> ModuleType:
    """Return the library that packs; ``MissingExtraError`` if it is not installed."""
    try:
        return import_module("blosc2")  # the base install has none
    except ImportError as error:
        raise MissingExtraError.of(what="the model 'nninteractive'", extra=EXTRA) from error
