"""Masks that somebody else has made, such as nnU-Net's output: a folder with a label map for each case, by its id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from samaritan.core.errors import ReadError
from samaritan.core.geometry import Geometry
from samaritan.data.layouts.files import files_in, relative
from samaritan.io import read_labels

GIVEN = "given"


class Listing:
    """The files of a folder by the cases that they may be of; it is looked through once."""

    def __init__(self, folder: Path) -> None:
        self._files = list(files_in(folder, deep=True))
        self._places: dict[str, int] = {}
        for place, (file, stem) in enumerate(self._files):
            for name in (stem, relative(file.with_name(stem), folder)):
                self._places.setdefault(name, place)

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [file for file, _ in self._files]

    def of(self, case: str) -> Path | None:
        """Return the file of a case, called like its id (``/`` as a folder or as ``_``); None if there is none."""
        places = [self._places[name] for name in _names(case) if name in self._places]
        return self._files[min(places)][0] if places else None


def read_predicted(path: Path | None, folder: Path, case: str, geometry: Geometry) -> NDArray[Any]:
    """Return the label values (i, j, k) that were predicted for a case, in the file that ``Listing`` has of it.

    Raises
    ------
    ReadError
        If there is no file for it, or it cannot be read.
    GeometryMismatchError
        If it lies on another grid than the image.
    """
    if path is None:
        raise ReadError(
            got=f"no prediction for case '{case}' in {folder}", wanted=f"a file such as {case}.nii.gz there"
        )
    return read_labels(path, reference=geometry).array


def extra_files(folder: Path, cases: Sequence[str]) -> list[str]:
    """Return the files of a folder that stand for no case: they are of none, or another was taken for theirs."""
    listing = Listing(folder)
    taken = {listing.of(case) for case in cases}
    return [relative(file, folder) for file in listing.files if file not in taken]


def _names(case: str) -> tuple[str, ...]:
    return (case, case.replace("/", "_")) if "/" in case else (case,)
