"""A folder that appears whole or not at all, as a file does that is written by ``io.atomic``."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from samaritan.core.errors import SamaritanError, WriteError
from samaritan.models.folders import make_folders, remove_empty


def require_place(folder: Path) -> None:
    """Raise unless ``folder`` may be written: before minutes are spent on it.

    Raises
    ------
    WriteError
        If it is there and not an empty folder, or cannot be looked into.
    """
    try:
        above = next(path for path in folder.absolute().parents if path.exists())
        if folder.is_dir():
            wrong = f"{folder} exists and is not empty" if any(folder.iterdir()) else ""
        elif folder.exists() or folder.is_symlink():
            wrong = f"{folder} exists and is a file"
        else:
            wrong = "" if above.is_dir() else f"{above}, which {folder} is to lie in, is a file"
    except OSError as error:
        raise _cannot_write(folder, error) from error
    if wrong:
        raise WriteError(got=wrong, wanted="a new or an empty folder", fix="Choose another name with -o")


@contextmanager
def whole_folder(folder: Path, *, last: str) -> Iterator[Path]:
    """Give a folder to write to, which becomes ``folder`` if all goes well, and otherwise goes with all in it.

    ``last`` is the name of the file that says that the others are there.

    Raises
    ------
    WriteError
        As ``require_place``, or if it cannot be written.
    """
    require_place(folder)
    there = folder.is_dir()
    try:
        # On the file system of ``folder``, so that files are moved without being copied.
        with (
            _above(folder),
            tempfile.TemporaryDirectory(prefix=".samaritan-", dir=folder if there else folder.parent) as place,
        ):
            staged = Path(place) / "bundle"
            staged.mkdir()
            yield staged
            if there:
                _fill(folder, staged, last)
            else:
                staged.rename(folder)  # refused if somebody has filled it meanwhile
    except SamaritanError:
        raise
    except OSError as error:
        raise _cannot_write(folder, error) from error


@contextmanager
def _above(folder: Path) -> Iterator[None]:
    """Make the folders that ``folder`` is to lie in; those that were made go again if what follows fails."""
    made = make_folders(folder.parent)
    try:
        yield
    except BaseException:
        remove_empty(made)
        raise


def _fill(folder: Path, staged: Path, last: str) -> None:
    """Move the files into a folder that was there: a shell may stand in it, so it is not replaced by another one."""
    others = [path.name for path in folder.iterdir() if path.name != staged.parent.name]
    if others:
        raise WriteError(
            got=f"{folder} has got {others[0]} in it meanwhile", wanted="an empty folder", fix="Choose another one"
        )
    names = sorted((path.name for path in staged.iterdir()), key=lambda name: name == last)
    try:
        for name in names:
            (staged / name).rename(folder / name)
    except BaseException:
        for name in names:
            (folder / name).unlink(missing_ok=True)
        raise


def _cannot_write(folder: Path, error: OSError) -> WriteError:
    full = "Free some space, or choose" if error.errno == errno.ENOSPC else "Choose"
    return WriteError(got=f"cannot write {folder}: {error.strerror or error}", fix=f"{full} another place with -o")
