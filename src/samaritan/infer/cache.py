"""Embeddings on disk: what was encoded once is not encoded again, in this process or another.

An entry is one safetensors file, named by the hash of what it was made from; it never holds code, and its content is
checked before use. Files appear whole or not at all, so that several processes may share a folder. An entry that is
damaged counts as absent and is removed. A folder that cannot be used costs time, not the result: the cache then says
so once in the log, and stays off.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save

from samaritan.core.image import Image
from samaritan.core.model import ModelCard

Arrays = Mapping[str, NDArray[Any]]

# Of the files, and of how models prepare images: raise it when a card's words do not tell of such a change.
FORMAT_VERSION = 2
DEFAULT_MAX_BYTES = 4 * 1024**3

_ENTRY = re.compile(r"[0-9a-f]{64}\.safetensors")
_PARTIAL = ".partial-"
_PARTIAL_LIVES_S = 3600.0
# Evicting a little more than needed spares the next writes the work.
_SHRINK_TO = 0.9

logger = logging.getLogger(__name__)


def default_root() -> Path:
    """Return the folder for caches: ``$SAMARITAN_CACHE``, or the platform's own place for them."""
    chosen = os.environ.get("SAMARITAN_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "samaritan"


def content_key(prepared: Image, card: ModelCard) -> str:
    """Return the name of the embedding of ``prepared`` (as handed to ``embed``) by the model of ``card``.

    SHA-256 of the values with their type and shape, the modality, the voxel spacing, the model's weights and how it
    prepares images, and ``FORMAT_VERSION``; where the image lies in the world does not matter.
    """
    spacing = tuple(round(s, 6) for s in prepared.geometry.spacing)
    return _key(prepared.array, card, prepared.modality, spacing, prepared.geometry.unit)


def part_key(part: NDArray[Any], card: ModelCard) -> str:
    """Return the name of what the model of ``card`` makes of a part of an image (see ``GrowingEmbedding``)."""
    return _key(part, card, "part")


def _key(array: NDArray[Any], card: ModelCard, *more: object) -> str:
    model = (card.name, card.sha256, card.normalisation)
    facts = (FORMAT_VERSION, *model, array.shape, array.dtype.str, *more)
    digest = hashlib.sha256(repr(facts).encode())
    # A grey image repeated to three channels has stride 0 along them: one channel tells it all, the shape the rest.
    different = array[:1] if array.strides[0] == 0 else array
    for channel in different:
        digest.update(np.ascontiguousarray(channel).data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache holds: ``entries`` files of ``nbytes`` in all, of at most ``max_bytes``, in ``root``."""

    root: Path
    entries: int
    nbytes: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    nbytes: int
    used: float


class EmbeddingCache:
    """A folder of embeddings, of bounded size: the least recently used go first.

    Parameters
    ----------
    root
        The folder; made when first written to. By default ``embeddings`` in ``default_root()``.
    max_bytes
        What all entries together may take.
    """

    def __init__(self, root: Path | str | None = None, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.root = Path(root) if root is not None else default_root() / "embeddings"
        self.max_bytes = max_bytes
        self._off = False

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """Return the arrays kept as ``key``; None if there are none, or they are damaged."""
        path = self._path(key)
        if self._off or not path.is_file():
            return None
        try:
            arrays = _read(path, key)
            os.utime(path)  # its time of change says when it was last used
        except (safetensors.SafetensorError, ValueError) as error:
            logger.warning("removing damaged cache entry %s: %s", path.name, error)
            _remove(path)
            return None
        except OSError:  # another process removed it just now, or we may not read it: both are a miss
            return None
        return arrays

    def put(self, key: str, arrays: Arrays) -> None:
        """Keep ``arrays`` as ``key``; does nothing where they are larger than the whole cache may be."""
        if self._off or sum(array.nbytes for array in arrays.values()) > self.max_bytes:
            return
        try:
            self._write(self._path(key), _serialise(key, arrays))
            self._evict()
        except OSError as error:
            self._off = True
            logger.warning("going on without the embedding cache in %s: %s", self.root, error.strerror or error)

    def info(self) -> CacheInfo:
        """Return what the cache holds; nothing if the folder is not there."""
        files = list(self._files())
        return CacheInfo(self.root, len(files), sum(file.nbytes for file in files), self.max_bytes)

    def clear(self) -> CacheInfo:
        """Remove every entry, and nothing else that lies in the folder; return what was held before."""
        before = self.info()
        for file in self._files():
            _remove(file.path)
        self._remove_partial(older_than_s=0.0)
        return before

    def _path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.safetensors"

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(prefix=_PARTIAL, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).replace(path)
        except BaseException:  # Ctrl-C too: nothing half-written stays
            _remove(Path(name))
            raise

    def _evict(self) -> None:
        files = sorted(self._files(), key=lambda file: file.used)
        total = sum(file.nbytes for file in files)
        if total <= self.max_bytes:
            return
        self._remove_partial(older_than_s=_PARTIAL_LIVES_S)
        for file in files[:-1]:  # the newest was just written
            if total <= _SHRINK_TO * self.max_bytes:
                break
            _remove(file.path)
            total -= file.nbytes

    def _files(self) -> Iterator[_File]:
        for path in self.root.glob("??/*.safetensors"):
            if not _ENTRY.fullmatch(path.name) or path.is_symlink():
                continue
            try:
                status = path.stat()
            except FileNotFoundError:  # another process evicted it
                continue
            yield _File(path, status.st_size, status.st_mtime)

    def _remove_partial(self, *, older_than_s: float) -> None:
        """Remove what a killed process left half-written."""
        for path in self.root.glob(f"??/{_PARTIAL}*"):
            try:
                age = time.time() - path.stat().st_mtime
            except FileNotFoundError:
                continue
            if age >= older_than_s:
                _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # in use (Windows) or not ours: it stays, and is tried again later
        logger.debug("cannot remove %s: %s", path, error)


def _checksum(arrays: Arrays) -> str:
    value = 0
    for name in sorted(arrays):
        array = arrays[name]
        value = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), value)
        value = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, value)
    return f"{value:08x}"


def _serialise(key: str, arrays: Arrays) -> bytes:
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    content: bytes = save(whole, metadata={"key": key, "crc32": _checksum(whole)})
    return content


def _read(path: Path, key: str) -> dict[str, NDArray[Any]]:
    """Return the arrays in a file; ``ValueError`` or ``SafetensorError`` if it is not what ``put`` wrote as ``key``."""
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        if metadata.get("key") != key:
            msg = "it belongs to another image or model"
            raise ValueError(msg)
        # The library checked that every tensor lies within the file, so none is larger than the file.
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the handle is no mapping
    if metadata.get("crc32") != _checksum(arrays):
        msg = "its content does not have its checksum"
        raise ValueError(msg)
    return arrays


@dataclass(frozen=True, slots=True)
class CachedParts:
    """Keeps encoded parts of images in ``cache``, for the model of ``card``: a ``core.model.PartStore``."""

    cache: EmbeddingCache
    card: ModelCard

    def get(self, part: NDArray[Any]) -> dict[str, NDArray[Any]] | None:
        """Return what was kept of a part with these values; None if nothing is."""
        return self.cache.get(part_key(part, self.card))

    def put(self, part: NDArray[Any], arrays: Arrays) -> None:
        """Keep ``arrays`` of the part with these values."""
        self.cache.put(part_key(part, self.card), arrays)
