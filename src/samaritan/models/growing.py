"""Parts of an image that are encoded when they are first needed: slices, or windows of a volume.

What ``core.model.GrowingEmbedding`` says of an embedding is done here: the parts that were used last are held, and all
are looked for, and left, in a store that outlives the process, if there is one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from samaritan.core.model import PartStore

Features = Mapping[str, Any]  # arrays, or tensors on a device, by name; they have ``nbytes``


class PartEncoder(Protocol):
    """What makes features of a part, and takes them apart. It may be called by several threads."""

    def encode(self, part: NDArray[Any]) -> Features:
        """Return the features of a part, rounded as they are to be kept: where they come from must not matter."""
        ...

    def to_arrays(self, features: Features) -> Mapping[str, NDArray[Any]]:
        """Return the features as arrays, to be kept."""
        ...

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Features:
        """Return the features that ``to_arrays`` took apart, to the last bit.

        Raises
        ------
        CorruptFileError
            If these are not features of this encoder.
        """
        ...


class Parts:
    """The encoded parts of one image.

    Parameters
    ----------
    max_bytes
        What those that are held may take; one is always held.

    Attributes
    ----------
    store
        Where they are kept beyond that, or None.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.store: PartStore | None = None
        self._held: OrderedDict[Hashable, Features] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Memory that the held ones take."""
        with self._lock:
            return sum(map(_nbytes, self._held.values()))

    def features(self, key: Hashable, read: Callable[[], NDArray[Any]], encoder: PartEncoder) -> Features:
        """Return the features of the part ``key``, whose values ``read`` returns."""
        with self._lock:
            found = self._held.get(key)
        if found is None:  # without the lock, for it takes long
            found = self._fetched(read(), encoder)
        with self._lock:
            self._held[key] = found
            self._held.move_to_end(key)
            while len(self._held) > 1 and sum(map(_nbytes, self._held.values())) > self.max_bytes:
                self._held.popitem(last=False)
        return found

    def _fetched(self, part: NDArray[Any], encoder: PartEncoder) -> Features:
        store = self.store
        if store is None:
            return encoder.encode(part)
        kept = store.get(part)
        if kept is not None:
            return encoder.from_arrays(kept)
        made = encoder.encode(part)
        store.put(part, encoder.to_arrays(made))
        return made


def _nbytes(features: Features) -> int:
    return sum(int(found.nbytes) for found in features.values())
