"""Bytes in and out: gzip, and sizes that are checked before memory is taken."""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from samaritan.core.errors import CorruptFileError, ResourceError

GZIP_MAGIC = b"\x1f\x8b"
MAX_BYTES = 16 << 30
# DEFLATE (RFC 1951) spends at least two bits on 258 bytes, so a stream holds no more than this many times its size.
_MOST_DEFLATE = 1032
_TRAILER = 1 << 16
_GZIP_BITS = 31  # zlib's way to say: gzip, largest window


@contextmanager
def open_content(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, through gunzip where its content is gzipped; damage raises ``CorruptFileError``."""
    with path.open("rb") as plain:
        zipped = plain.read(2) == GZIP_MAGIC
        plain.seek(0)
        if not zipped:
            yield plain
            return
        try:
            with _gzip_module().open(plain, "rb") as content:
                yield cast("BinaryIO", content)
        except (EOFError, gzip.BadGzipFile, _zlib_module().error) as error:
            raise CorruptFileError(
                got=f"{path.name} is gzipped, and cut short or damaged ({error})", fix="Copy or download it again"
            ) from error


@contextmanager
def create_content(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for writing, through gzip where its name ends in ``.gz``.

    Level 1: on images, higher levels take several times as long to save a few per cent. No time stamp is written, so
    the same voxels give the same file.
    """
    with path.open("wb") as plain:
        if not path.name.lower().endswith(".gz"):
            yield plain
            return
        with _gzip_class()(filename="", mode="wb", fileobj=plain, compresslevel=1, mtime=0) as content:
            yield cast("BinaryIO", content)


def _gzip_module() -> Any:  # noqa: ANN401  # isal.igzip has the interface of gzip, but no common type
    return import_module("isal.igzip" if find_spec("isal") else "gzip")


def _zlib_module() -> Any:  # noqa: ANN401  # as above
    return import_module("isal.isal_zlib" if find_spec("isal") else "zlib")


def _gzip_class() -> Any:  # noqa: ANN401  # as above
    return _gzip_module().IGzipFile if find_spec("isal") else gzip.GzipFile


def head(path: Path, size: int) -> bytes:
    """Return about the first ``size`` bytes of content, after gunzip; fewer where the file ends or is damaged."""
    with path.open("rb") as content:
        raw = content.read(size)
    if not raw.startswith(GZIP_MAGIC):
        return raw
    unpack, parts = zlib.decompressobj(wbits=_GZIP_BITS), b""
    # Byte by byte, to keep what comes before damage: the format's own reader will say what is wrong with the rest.
    with contextlib.suppress(zlib.error):
        for at in range(len(raw)):
            parts += unpack.decompress(raw[at : at + 1], size)
            if len(parts) >= size:
                break
    return parts[:size]


def require_room(path: Path, *, needed: int, held: int | None = None) -> None:
    """Refuse a file that claims to hold more than it can, or more than this machine can.

    Parameters
    ----------
    path
        The file, for the message.
    needed
        Bytes that its header claims.
    held
        Bytes that its content can hold at most; None where it is compressed, then it follows from the file's size.

    Raises
    ------
    CorruptFileError
        If the file is too short for what it claims.
    ResourceError
        If this much cannot be held in memory.
    """
    most = path.stat().st_size * _MOST_DEFLATE if held is None else held
    if needed > most:
        raise CorruptFileError(
            got=f"{path.name} claims {_size(needed)} of voxels, and holds at most {_size(max(most, 0))}",
            fix="The file is cut short or damaged: copy or download it again",
        )
    limit = min(MAX_BYTES, _memory())
    if needed > limit:
        raise ResourceError(
            got=f"{path.name} needs {_size(needed)} of memory",
            wanted=f"at most {_size(limit)}",
            fix="Crop it, or take a machine with more memory",
        )


def _memory() -> int:
    """Return the machine's memory in bytes; where the system does not tell, as much as is ever allowed."""
    if not hasattr(os, "sysconf"):
        return MAX_BYTES
    return int(os.sysconf("SC_PAGE_SIZE")) * int(os.sysconf("SC_PHYS_PAGES"))


def _size(count: int) -> str:
    power = min(max(count.bit_length() - 1, 0) // 10, 4)
    return f"{count / 1024**power:.4g} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def read_array(content: BinaryIO, shape: tuple[int, ...], dtype: DTypeLike, path: Path) -> NDArray[Any]:
    """Return the next numbers of ``content`` as an array of ``shape`` in Fortran order and native byte order.

    Raises
    ------
    CorruptFileError
        If the content ends early or its checksum is wrong.
    """
    array = np.empty(shape, dtype, order="F")
    rest = memoryview(cast("Any", array.reshape(-1, order="F").view(np.uint8)))
    while rest.nbytes:
        count = cast("Any", content).readinto(rest)
        if not count:
            raise CorruptFileError(
                got=f"{path.name} ends {_size(rest.nbytes)} before the last voxel",
                fix="The file is cut short: copy or download it again",
            )
        rest = rest[count:]
    content.read(_TRAILER)  # gzip checks its checksum only when it reaches its end
    return array if array.dtype.isnative else array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))


def write_slabs(content: BinaryIO, slabs: Iterable[NDArray[Any]]) -> None:
    """Write arrays one after the other, each in C order, little-endian."""
    content.writelines(slab.astype(slab.dtype.newbyteorder("<"), copy=False).tobytes() for slab in slabs)
