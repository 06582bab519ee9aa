"""A table that forgets what was not used for longest, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ByteLRU(Generic[K, V]):
    """Values with their sizes in bytes; the least recently used go when ``max_bytes`` would be exceeded.

    The newest value is always kept, even one larger than the bound: it is about to be used.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.nbytes = 0

    @property
    def max_bytes(self) -> int:
        """The bound; setting a lower one forgets at once what no longer fits."""
        return self._max_bytes

    @max_bytes.setter
    def max_bytes(self, value: int) -> None:
        self._max_bytes = value
        self._shrink()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """Return the value and mark it as used; None if there is none."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: K, value: V, *, nbytes: int) -> None:
        """Keep ``value``, which takes ``nbytes``."""
        self.nbytes -= self._entries.pop(key, (None, 0))[1]
        self._entries[key] = (value, nbytes)
        self.nbytes += nbytes
        self._shrink()

    def _shrink(self) -> None:
        while self.nbytes > self._max_bytes and len(self._entries) > 1:
            _, (_, nbytes) = self._entries.popitem(last=False)
            self.nbytes -= nbytes
