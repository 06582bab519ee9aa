"""Which weights a model has, and whether they are here at all: seen without loading them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from samaritan.core.errors import UnknownNameError
from samaritan.models.checkpoint import require_checkpoint, sha256_of
from samaritan.models.registry import ENDINGS, LISTED_BY, MODELS, mark_of, path_of


def fingerprint(name: str) -> str:
    """Return what tells the weights of a model from others that go by the same name or path, without loading them.

    That is the SHA-256 on its card; of a folder that ``FOLDERS`` knows, such as an adapter, a hash of the weights in
    it; of a checkpoint file its size and the time of its last change.

    Parameters
    ----------
    name
        As ``load_model`` takes it.

    Raises
    ------
    UnknownNameError
        If there is no such model, or a folder is none.
    WeightsError
        If the weights are not here, or a file is no checkpoint.
    ReadError, ResourceError
        If a file cannot be read, or is too large.
    """
    path = path_of(name)
    if path is None:
        entry = MODELS.get(name)
        entry.require()
        return entry.card().sha256 or _of_published(name)
    if not path.exists():
        raise UnknownNameError(
            got=f"no model {path}: there is no such file or folder",
            wanted=f"a checkpoint, a folder that samaritan export or samaritan adapt wrote, or a name in `{LISTED_BY}`",
        )
    return _of_folder(path) if path.is_dir() else _of_file(path)


def _of_published(name: str) -> str:
    """Return what is known of a checkpoint whose hash nobody has published."""
    from samaritan.models.published import published, published_names, recorded  # noqa: PLC0415 - it imports families

    if name not in published_names():
        return ""
    path = published(name).path
    return recorded(path) or _size_and_time(path)


def _of_file(path: Path) -> str:
    require_checkpoint(path)
    return _size_and_time(path)


def _size_and_time(path: Path) -> str:
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns}"


def _of_folder(path: Path) -> str:
    from samaritan.models.bundle import CARD, is_bundle, require_graphs  # noqa: PLC0415 - it imports a runtime
    from samaritan.models.card import read_card  # noqa: PLC0415 - few cards are of bundles

    if mark_of(path) is not None:  # its card may take long: it is made of that of a base
        files = sorted(file for file in path.iterdir() if file.suffix in ENDINGS and file.is_file())
        told = [f"{file.name} {sha256_of(file)}" for file in files]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()
    if is_bundle(path):
        require_graphs(path)
        return read_card(path / CARD).sha256
    raise UnknownNameError(
        got=f"{path}, which is a folder without a model",
        wanted=f"a checkpoint, a folder that samaritan export or samaritan adapt wrote, or a name in `{LISTED_BY}`",
    )
