"""How much memory there is to use, and the plan that keeps to it."""

from __future__ import annotations

import re

from samaritan.core.errors import OutOfMemoryBudgetError, ResourceError
from samaritan.core.process import peak_rss

MIB = 1024**2
# Without a limit: embeddings of about 180 slices of the default model.
DEFAULT_EMBEDDINGS = 512 * MIB
# What is needed beside arrays that can be counted: allocator slack, buffers of the runtime between two calls.
SLACK = 96 * MIB

# Bytes for each voxel beside a mask for each object: the label map, and what is needed to make it; and what a model of
# volumes needs for an object, its logits and where they may be.
_LABEL_MAP, _LOGITS = 3, 6

_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)(b?)\s*", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return the bytes of ``"4GiB"``, ``"1500 MB"``, ``"2G"`` (binary, as in ulimit) or a plain number.

    Raises
    ------
    ResourceError
        If it is not a positive size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ResourceError(got=f"size '{text}'", wanted="a number and a unit, such as 4GiB or 1500MB")
    number, prefix, binary, byte = match.groups()
    decimal = byte and not binary
    size = int(float(number) * (1000 if decimal else 1024) ** _UNITS[prefix.lower()])
    if size < 1:
        raise ResourceError(got=f"size '{text}'", wanted="more than nothing, such as 4GiB")
    return size


def format_size(size: int) -> str:
    """Return bytes for people: ``"1.5 GiB"``."""
    return f"{size / 1024**3:.1f} GiB" if size >= 1024**3 else f"{size / MIB:.0f} MiB"


def arrays_nbytes(voxels: int, *, objects: int, dims: int) -> int:
    """Return the bytes of masks, label map and logits in an image of so many voxels, by a model of ``dims``."""
    return voxels * (objects + _LABEL_MAP + (_LOGITS if dims == 3 else 0))


def plan_embeddings(limit: int | None, *, arrays: int, embedding: int) -> int:
    """Return how many bytes of embeddings may be held in memory.

    Call it after the first image was encoded: what the image, the model and its workspace take is then measured, not
    guessed.

    Parameters
    ----------
    limit
        Bytes that the process may hold at its peak; None for the default.
    arrays
        Bytes of masks and labels that are still to be made.
    embedding
        Bytes of one embedding: at least one has to be held.

    Raises
    ------
    OutOfMemoryBudgetError
        If even one embedding does not fit.
    """
    if limit is None:
        return DEFAULT_EMBEDDINGS
    taken = peak_rss() + SLACK + arrays
    if taken + embedding > limit:
        raise OutOfMemoryBudgetError(
            got=f"a memory limit of {format_size(limit)}",
            wanted=f"at least {format_size(taken + embedding + MIB)} for this image, model and number of objects",
            fix="Raise the limit, segment fewer objects at once, or crop the image",
        )
    return limit - taken
