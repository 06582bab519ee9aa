"""Cases read: the image, and what was drawn of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.data.case import Case
from samaritan.data.references import REFERENCES, Labelled
from samaritan.io import read

# Codes of modalities in DICOM that say how values are looked at; a file that says none takes over the case's.
_CODES = frozenset({"CT", "MR", "US", "PT", "CR", "DX", "MG", "XA", "NM"})


def read_image(root: Path, case: Case) -> Image:
    """Return a case's image; its files, where there are several, are the channels.

    Raises
    ------
    ReadError, GeometryError, ImageError, ResourceError, UnknownNameError
        As ``samaritan.io.read``; ``GeometryMismatchError`` if files lie on different grids.
    """
    if len(case.images) == 1:
        several = len(case.channels) > 1
        image = read(root / case.images[0], series=case.series or None, as_channels=several)
        if several and len(image.channels) == len(case.channels):
            image = replace(image, channels=case.channels)
    else:
        names = case.channels or tuple(f"channel {number}" for number in range(len(case.images)))
        parts = {name: read(root / path) for name, path in zip(names, case.images, strict=True)}
        image = Image.from_channels(parts)
    if not image.modality and case.modality.upper() in _CODES:
        return replace(image, modality=case.modality.upper())
    return image


def read_objects(root: Path, case: Case, geometry: Geometry) -> Iterator[Labelled]:
    """Yield the objects of a case's reference, on the grid of its image; none if nobody drew any.

    Raises
    ------
    GeometryMismatchError
        If the reference lies on another grid.
    SamaritanError
        As the kind of reference says.
    """
    if case.reference is not None:
        yield from REFERENCES.get(case.reference.kind)(root, case.reference, geometry)
