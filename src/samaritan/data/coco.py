"""Masks in COCO JSON: polygons and run lengths.

Source: https://cocodataset.org/#format-data and the definition of ``pycocotools.mask``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import CorruptFileError, GeometryMismatchError
from samaritan.core.geometry import Geometry
from samaritan.data.case import Reference
from samaritan.data.layouts.files import read_json
from samaritan.data.references import Labelled

Bools = NDArray[np.bool_]
Size = tuple[int, int]


def read_objects(root: Path, reference: Reference, geometry: Geometry) -> Iterator[Labelled]:
    """Yield the objects drawn in one picture, each annotation by itself; crowds and mere boxes are passed over.

    Raises
    ------
    CorruptFileError
        If a mask is neither polygons nor run lengths, or does not add up.
    GeometryMismatchError
        If run lengths are of another size than the picture.
    """
    path = root / reference.paths[0]
    drawn = [
        annotation
        for annotation in _by_image(path, path.stat().st_mtime_ns).get(reference.part, ())
        if annotation.get("segmentation") and not annotation.get("iscrowd")
    ]
    several = Counter(int(annotation["category_id"]) for annotation in drawn)
    seen: Counter[int] = Counter()
    for annotation in drawn:
        value = int(annotation["category_id"])
        seen[value] += 1
        mask = to_mask(annotation["segmentation"], (geometry.shape[0], geometry.shape[1]), f"{path.name}")
        if mask.any():
            name = reference.names.get(value, f"label {value}")
            yield Labelled(value, name, mask[..., None], seen[value] if several[value] > 1 else 0)


@lru_cache(maxsize=1)  # cases of one file come one after the other, and parsing it takes seconds
def _by_image(path: Path, _changed: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for annotation in read_json(path)["annotations"]:
        found.setdefault(str(annotation["image_id"]), []).append(annotation)
    return found


def to_mask(segmentation: Any, size: Size, where: str) -> Bools:  # noqa: ANN401  # from JSON
    """Return the mask (i, j) of a ``segmentation``; ``size`` is the picture's (width, height)."""
    if isinstance(segmentation, list):
        return _from_polygons(segmentation, size, where)
    if not isinstance(segmentation, dict) or not {"counts", "size"} <= segmentation.keys():
        raise CorruptFileError(got=f"{where}: a mask {str(segmentation)[:80]}", wanted="polygons or run lengths")
    height, width = segmentation["size"]
    if (width, height) != size:
        raise GeometryMismatchError(got=f"{where}: a mask of {width} x {height}", wanted=f"{size[0]} x {size[1]}")
    counts = segmentation["counts"]
    runs = _unpack(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if min(runs, default=0) < 0 or sum(runs) != width * height:
        raise CorruptFileError(got=f"{where}: run lengths of {sum(runs)} pixels", wanted=f"{width * height}")
    values = np.arange(len(runs)) % 2 == 1  # the first run is background
    return np.repeat(values, runs).reshape(width, height)  # column by column, which is i before j


def _from_polygons(polygons: Sequence[Any], size: Size, where: str) -> Bools:
    """Fill polygons [x0, y0, x1, y1, ...], in which pixel n reaches from n to n + 1."""
    from skimage.draw import polygon2mask  # noqa: PLC0415  # skimage takes long to import

    mask = np.zeros(size, np.bool_)
    for corners in polygons:
        points = np.asarray(corners, np.float64)
        if points.ndim != 1 or points.size < 6 or points.size % 2 or not np.isfinite(points).all():
            raise CorruptFileError(got=f"{where}: a polygon {str(corners)[:80]}", wanted="three corners at least")
        mask |= polygon2mask(size, points.reshape(-1, 2) - 0.5)
    return mask


def _unpack(text: str) -> list[int]:
    """Return the run lengths in a compressed string.

    Each is a number in groups of five bits, lowest first, as characters from 48 up; bit 32 says that more follow, and
    the highest bit of the last group is the sign. From the fourth on it is the difference to the run before last.
    """
    runs: list[int] = []
    at = 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            if at >= len(text):
                return [-1]  # ends in the middle of a number
            group = ord(text[at]) - 48
            value |= (group & 31) << shift
            more = bool(group & 32)
            shift, at = shift + 5, at + 1
            if not more and group & 16:
                value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs
