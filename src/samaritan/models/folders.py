"""Folders that leave no trace where nothing came of them, and folders that one call at a time may change."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_LOCK = ".lock"
_ATTEMPTS = 100  # at taking what others take away at that very moment


def make_folders(folder: Path) -> list[Path]:
    """Make a folder and those that it is to lie in; return the ones that were not there, innermost first.

    Raises
    ------
    OSError
        If that cannot be done; then none is left.
    """
    folder = folder.absolute()
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        remove_empty(made)
        raise
    return made


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, innermost first, but none that has something in it."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Hold a folder against other calls, on this machine at least; give whether nobody else holds it.

    It is made if it is not there. In the end the lock is gone, and so are empty folders that this call made.

    Raises
    ------
    OSError
        If it cannot be made or written to.
    """
    made: list[Path] = []
    path = folder / _LOCK
    try:
        file = _take(path, made)
        try:
            yield file is not None
        finally:
            if file is not None:
                _give_back(file, path)
    finally:
        remove_empty(made)


def _take(path: Path, made: list[Path]) -> IO[bytes] | None:
    """Return the file of a lock, locked; None if another call has it. Folders that it has to make it adds to ``made``.

    Who has a lock removes its file in the end, and maybe its folder. Between opening and locking it, it may go: then it
    is a lock without a name, which keeps nobody away, and all starts again.
    """
    gone: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    for _ in range(_ATTEMPTS):
        try:
            made += make_folders(path.parent)
            file = path.open("ab")
        except (FileNotFoundError, FileExistsError) as error:  # the latter if a folder is there, and then it is not
            gone = error
            continue
        if not _lock(file):
            file.close()
            return None
        if _is_named(file, path):
            return file
        file.close()
    raise gone


def _give_back(file: IO[bytes], path: Path) -> None:
    """Remove the file of a lock while it is locked: then nobody else can have locked it under that name."""
    with suppress(OSError):  # Windows removes no file that is open
        if _is_named(file, path):
            path.unlink()
    file.close()  # so does the end of the process, however that comes: the next call takes over the file
    if sys.platform == "win32":
        with suppress(OSError):  # another call has opened it
            path.unlink()


def _is_named(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:  # no such file any more, or, on a network's file system, a stale one
        return False


def _lock(file: IO[bytes]) -> bool:
    """Whether nobody else held the file; now this process does. Where files cannot be locked, nobody holds any."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - Windows has it alone

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 - Windows has none

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # some network file systems
        return True
    return True
