"""The files behind a path: one file, all files of a folder, or the members of a zip, read in memory."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from samaritan.core.errors import CorruptFileError, ReadError, UnsupportedFormatError

MAX_FILES = 50_000
MAX_UNZIPPED_BYTES = 8 * 2**30
# Scans shrink two- to fourfold and empty masks are small; what shrinks more than this and is large is made to hurt.
_MAX_RATIO = 200
_SMALL_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Member:
    """One file: its ``name`` for messages, and how to open it for reading."""

    name: str
    open: Callable[[], BinaryIO]


def members(path: Path) -> list[Member]:
    """Return the files behind ``path`` in the order of their names, not opened yet.

    A folder is searched through all its subfolders, except hidden ones; links to folders are not followed.
    Members of a zip are never extracted: each is unpacked into memory when it is opened, so no name in it can point
    out of anywhere.

    Raises
    ------
    ReadError
        If there are more than ``MAX_FILES``.
    UnsupportedFormatError
        For an encrypted zip.
    CorruptFileError
        For a zip that is damaged, or that unpacks to far more than it should.
    """
    if path.is_dir():
        names = sorted(p.relative_to(path) for p in path.rglob("*") if p.is_file())
        shown = [name for name in names if not any(part.startswith(".") for part in name.parts)]
        _require_few(len(shown), path)
        return [_from_file(path / name, str(name)) for name in shown]
    if zipfile.is_zipfile(path):
        return _from_zip(path)
    return [_from_file(path, path.name)]


def _from_file(path: Path, name: str) -> Member:
    return Member(name, lambda: path.open("rb"))


def _from_zip(path: Path) -> list[Member]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CorruptFileError(got=f"{path} is a damaged zip: {error}", fix="Copy or download it again") from error
    _require_few(len(entries), path)
    if any(info.flag_bits & 1 for info in entries):
        raise UnsupportedFormatError(got=f"{path} is an encrypted zip", fix="Unpack it with its password first")
    size, packed = sum(info.file_size for info in entries), sum(info.compress_size for info in entries)
    if size > MAX_UNZIPPED_BYTES or (size > _SMALL_BYTES and size > _MAX_RATIO * packed):
        raise CorruptFileError(
            got=f"{path} unpacks from {packed} to {size} bytes",
            wanted=f"at most {MAX_UNZIPPED_BYTES} bytes, and {_MAX_RATIO} times its own size",
            fix="If you trust it, unpack it yourself and read the folder",
        )
    entries.sort(key=lambda info: info.filename)
    return [Member(info.filename, _opener(path, info)) for info in entries]


def _opener(path: Path, info: zipfile.ZipInfo) -> Callable[[], BinaryIO]:
    def unpack() -> BinaryIO:
        try:
            with zipfile.ZipFile(path) as archive:  # reads no more than the size that was declared and checked
                return io.BytesIO(archive.read(info))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise CorruptFileError(got=f"{info.filename} in {path} cannot be unpacked: {error}") from error

    return unpack


def _require_few(count: int, path: Path) -> None:
    if count > MAX_FILES:
        raise ReadError(got=f"{count} files in {path}", wanted=f"at most {MAX_FILES}", fix="Name one study or series")
