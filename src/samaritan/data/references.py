"""The kinds of references, and how the objects of each are read: one function and one ``register`` line a kind."""

from __future__ import annotations

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
    """One object of a reference: its label ``value`` (or its number), its ``name``, and its ``mask`` (i, j, k)."""

    value: int
    name: str
    mask: Bools


# From the data set's folder, the reference and the grid of its image. Objects come one by one: masks are large.
Reader = Callable[[Path, Reference, Geometry], Iterator[Labelled]]
REFERENCES: Registry[Reader] = Registry("kind of reference", "samaritan.references")
REFERENCES.register("labels", "samaritan.data.references:read_label_map")
REFERENCES.register("masks", "samaritan.data.references:read_masks")


def read_label_map(root: Path, reference: Reference, geometry: Geometry) -> Iterator[Labelled]:
    """Yield what one label map, or DICOM SEG or RTSTRUCT, holds, by value.

    Raises
    ------
    GeometryMismatchError
        If it lies on another grid than the image.
    ReadError, GeometryError, ImageError, ResourceError
        As ``samaritan.io.read_labels``.
    """
    (path,) = reference.paths
    labels = read_labels(root / path, reference=geometry)
    for value in labels.labels:
        name = next(iter(reference.names.values()), "object") if reference.instances else reference.names.get(value)
        yield Labelled(value, name or labels.name(value), labels.mask(value))


def read_masks(root: Path, reference: Reference, geometry: Geometry) -> Iterator[Labelled]:
    """Yield what files of one mask each hold; they may overlap. The file of ``paths[n]`` has the value n + 1.

    Raises
    ------
    GeometryMismatchError, ReadError, GeometryError, ImageError, ResourceError
        As ``read_label_map``.
    """
    for value, path in enumerate(reference.paths, start=1):
        mask = read_labels(root / path, reference=geometry).array > 0
        if mask.any():
            yield Labelled(value, reference.names.get(value, f"label {value}"), mask)
