"""The kinds of references, and how the objects of each are read: one function and one ``register`` line a kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Geometry
from samaritan.core.registry import Registry
from samaritan.data.case import Reference
from samaritan.io import read_labels

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Labelled:
    """One object of a reference.

    Parameters
    ----------
    value
        The value of its label; 1 for every object of a map of instances.
    name
        The name of its label.
    mask
        (i, j, k).
    instance
        Which of several objects of one label it is, from 1; 0 where there is one for all.
    """

    value: int
    name: str
    mask: Bools
    instance: int = 0


# From the data set's folder, the reference and the grid of its image. Objects come one by one: masks are large.
Reader = Callable[[Path, Reference, Geometry], Iterator[Labelled]]
REFERENCES: Registry[Reader] = Registry("kind of reference", "samaritan.references")
REFERENCES.register("coco", "samaritan.data.coco:read_objects")
REFERENCES.register("labels", "samaritan.data.references:read_label_maps")
REFERENCES.register("masks", "samaritan.data.references:read_masks")


def read_label_maps(root: Path, reference: Reference, geometry: Geometry) -> Iterator[Labelled]:
    """Yield what label maps, or DICOM SEGs and RTSTRUCTs, hold: file by file, by value.

    Where the files name their labels themselves, those names count unless the reference has others.

    Raises
    ------
    GeometryMismatchError
        If one lies on another grid than the image.
    ReadError, GeometryError, ImageError, ResourceError
        As ``samaritan.io.read_labels``.
    """
    for path in reference.paths:
        labels = read_labels(root / path, reference=geometry)
        for value in labels.labels:
            if value in reference.ignored:
                continue
            if reference.instances:
                name = next(iter(reference.names.values()), "object")
                yield Labelled(1, name, labels.mask(value), value)
            else:
                yield Labelled(value, reference.names.get(value) or labels.name(value), labels.mask(value))


def read_masks(root: Path, reference: Reference, geometry: Geometry) -> Iterator[Labelled]:
    """Yield what files of one mask each hold; they may overlap, and several may have one label.

    Raises
    ------
    GeometryMismatchError, ReadError, GeometryError, ImageError, ResourceError
        As ``read_label_maps``.
    """
    values = reference.values or tuple(range(1, len(reference.paths) + 1))
    several = {value for value, count in Counter(values).items() if count > 1}
    seen: Counter[int] = Counter()
    for value, path in zip(values, reference.paths, strict=True):
        seen[value] += 1
        mask = read_labels(root / path, reference=geometry).array > 0
        if mask.any():
            name = reference.names.get(value, f"label {value}")
            yield Labelled(value, name, mask, seen[value] if value in several else 0)
