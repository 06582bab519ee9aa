"""What is asked about: planes and volumes of a case, and the objects to be found on them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from samaritan.autoprompt.simulate import Target
from samaritan.core.geometry import Axis, Geometry, axis_number
from samaritan.core.image import take_plane
from samaritan.data import Labelled
from samaritan.evaluate.protocols.components import components
from samaritan.infer.planes import viewing_axis

Bools = NDArray[np.bool_]
Dims = Literal[2, 3]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which objects of a case are asked for.

    Parameters
    ----------
    dims
        2 asks about the slice in which an object is largest, 3 about the volume as a whole.
    labels
        Names or values of labels; empty for all.
    piece
        Whether only an object's largest connected piece is asked for.
    least_share
        Of the plane or volume: smaller objects are not asked for.
    most
        Objects of one label in an image, such as cells: of more, so many are drawn at random.
    merged
        Whether all of a label is one object.
    """

    dims: Dims = 2
    labels: tuple[str, ...] = ()
    piece: bool = False
    least_share: float = 0.0
    most: int = 20
    merged: bool = False

    def wants(self, item: Labelled) -> bool:
        """Whether an object's label is among those asked for."""
        return not self.labels or item.name in self.labels or str(item.value) in self.labels


@dataclass(frozen=True, eq=False, slots=True)
class Wanted:
    """One object to be found: what it is called, and its ``target`` on the plane or volume that is asked about."""

    value: int
    name: str
    instance: int
    target: Target


@dataclass(frozen=True, eq=False, slots=True)
class Subject:
    """A plane (its ``axis`` and ``index``) or a whole volume (``index`` None), and what is to be found on it.

    ``crowd`` has all instances on it as labels 1, 2, ... (i, j, k), those too that are not asked about; None if the
    image has none.
    """

    geometry: Geometry
    axis: Axis
    index: int | None
    wanted: tuple[Wanted, ...]
    crowd: NDArray[np.int32] | None = None


def subjects_of(
    geometry: Geometry, objects: Iterable[Labelled], choice: Choice, rng: np.random.Generator
) -> list[Subject]:
    """Return what is asked about an image on ``geometry``: planes in order, or the one volume; none without objects."""
    whole = choice.dims == 3 and not geometry.is_2d
    axis = viewing_axis(geometry)
    planes: dict[int | None, list[Wanted]] = defaultdict(list)
    items = [item for item in objects if choice.wants(item) and item.mask.any()]
    items = _merged(items) if choice.merged else items
    crowd = label_map(item.mask for item in items if item.instance)
    for item in _few(items, choice, rng):
        index = None if whole else _largest_plane(item.mask, axis)
        grid = geometry if index is None else geometry.plane(axis, index)
        mask = item.mask if index is None else np.ascontiguousarray(take_plane(item.mask, axis, index))
        target = Target(mask, grid, item.name)
        target = components(target, most=1)[0] if choice.piece else target
        if np.count_nonzero(target.mask) >= choice.least_share * mask.size:
            planes[index].append(Wanted(item.value, item.name, item.instance, target))
    return [
        _subject(geometry, axis, index, planes[index], crowd)
        for index in sorted(planes, key=lambda index: -1 if index is None else index)
    ]


def _subject(
    geometry: Geometry, axis: Axis, index: int | None, wanted: Sequence[Wanted], crowd: NDArray[np.int32] | None
) -> Subject:
    if index is None:
        return Subject(geometry, axis, None, tuple(wanted), crowd)
    here = None if crowd is None else np.ascontiguousarray(take_plane(crowd, axis, index))
    return Subject(geometry.plane(axis, index), axis, index, tuple(wanted), here)


def seeded(*words: object) -> np.random.Generator:
    """Return a generator for one purpose, told apart by ``words``: the same whatever else is drawn, and by whom."""
    digest = hashlib.sha256("\0".join(map(str, words)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32).tolist())


def _largest_plane(mask: Bools, axis: Axis) -> int:
    others = tuple(number for number in range(3) if number != axis_number(axis))
    return int(np.count_nonzero(mask, axis=others).argmax())


def label_map(masks: Iterable[Bools]) -> NDArray[np.int32] | None:
    """Return masks as labels 1, 2, ... of one map, later ones on top of earlier ones; None without any."""
    labels: NDArray[np.int32] | None = None
    for number, mask in enumerate(masks, start=1):
        labels = np.zeros(mask.shape, np.int32) if labels is None else labels
        labels[mask] = number
    return labels


def _merged(objects: Sequence[Labelled]) -> list[Labelled]:
    """Return one object for each label, of all that have it."""
    found: dict[str, Labelled] = {}
    for item in objects:
        before = found.get(item.name)
        mask = item.mask if before is None else before.mask | item.mask
        found[item.name] = Labelled(item.value if before is None else before.value, item.name, mask)
    return list(found.values())


def _few(objects: Iterable[Labelled], choice: Choice, rng: np.random.Generator) -> Sequence[Labelled]:
    """Return of the objects of each label at most so many, in their order."""
    by_label: dict[int, list[tuple[int, Labelled]]] = defaultdict(list)
    for at, item in enumerate(objects):
        by_label[item.value].append((at, item))
    kept = []
    for items in by_label.values():
        drawn = range(len(items)) if len(items) <= choice.most else rng.choice(len(items), choice.most, replace=False)
        kept += [items[int(n)] for n in drawn]
    return [item for _, item in sorted(kept, key=lambda entry: entry[0])]
