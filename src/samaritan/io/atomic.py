"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from samaritan.core.errors import SamaritanError, WriteError

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space, or write elsewhere"),
    errno.EDQUOT: ("your disk quota is used up", "Free some space, or write elsewhere"),
    errno.EFBIG: ("the file is larger than the system allows", "Write elsewhere, or raise the limit (ulimit -f)"),
    errno.EACCES: ("permission denied", "Write to a folder that you own"),
    errno.EPERM: ("permission denied", "Write to a folder that you own"),
    errno.EROFS: ("the file system is read-only", "Write elsewhere"),
    errno.ENOENT: ("its folder does not exist", "Make the folder first"),
    errno.ENOTDIR: ("its folder is not a folder", "Check the path"),
    errno.ENAMETOOLONG: ("the name is too long", "Use a shorter name"),
}


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a path of the same name to write to; move it to ``path`` if the block succeeds.

    The path given lies in an empty, private folder beside ``path`` (so on the same file system). Whatever else the
    block writes into that folder is moved too, the main file last, and files that were there before are replaced,
    unless they may belong to another file; if a move fails, those already made are undone. On any failure, Ctrl-C
    included, nothing remains.

    Raises
    ------
    WriteError
        If the file system refuses: full, read-only, no such folder, no permission, or ``path`` is a folder.
    """
    if path.is_dir():
        raise WriteError(got=f"{path} is a folder", wanted="the name of a file", fix=f"Write to {path / 'mask.nii.gz'}")
    try:
        with tempfile.TemporaryDirectory(prefix=".samaritan-", dir=path.parent) as folder:
            staged = Path(folder) / path.name
            yield staged
            _flush(Path(folder))
            _publish(staged, path)
    except SamaritanError:
        raise
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> WriteError:
    """Return the ``WriteError`` for ``path`` that says in words what the system said."""
    reason, fix = _REASONS.get(error.errno or 0, (error.strerror or str(error), ""))
    return WriteError(got=f"cannot write {path}: {reason}", fix=fix)


def _flush(folder: Path) -> None:
    """Bring what was written to the disk itself, lest a power cut leave a name without content."""
    for entry in folder.iterdir():
        with entry.open("r+b") as file:
            os.fsync(file.fileno())


def _require_ours(companion: Path, path: Path) -> None:
    """Raise ``WriteError`` if an existing ``companion`` may hold the data of another header than ``path``."""
    if not path.exists() and not companion.name.startswith(path.name):
        raise WriteError(
            got=f"{companion.name} is there already, without {path.name}: it may be the data of another file",
            wanted=f"no {companion.name} beside a new {path.name}",
            fix="Choose another name",
        )


def _publish(staged: Path, path: Path) -> None:
    """Move all that lies beside ``staged`` beside ``path``; undo everything if one move fails."""
    others = sorted(entry for entry in staged.parent.iterdir() if entry != staged)
    with ExitStack() as undo:
        for entry in others:
            target = path.parent / entry.name
            if target.exists():
                _require_ours(target, path)
                old = staged.parent / f"{entry.name}.old"
                target.rename(old)
                undo.callback(old.rename, target)
            entry.rename(target)
            undo.callback(target.rename, entry)
        staged.replace(path)  # one step for the system: nobody sees the main file missing
        undo.pop_all()
