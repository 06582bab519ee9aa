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


def find_predicted(folder: Path, case: str) -> Path | None:
    """Return the file of a case, called like its id (``/`` as a folder or as ``_``); None if there is none."""
    for file, stem in files_in(folder, deep=True):
        if stem in _names(case) or relative(file.with_name(stem), folder) == case:
            return file
    return None


def read_predicted(folder: Path, case: str, geometry: Geometry) -> NDArray[Any]:
    """Return the label values (i, j, k) that were predicted for a case.

    Raises
    ------
    ReadError
        If there is no file for it, or it cannot be read.
    GeometryMismatchError
        If it lies on another grid than the image.
    """
    path = find_predicted(folder, case)
    if path is None:
        raise ReadError(
            got=f"no prediction for case '{case}' in {folder}", wanted=f"a file such as {case}.nii.gz there"
        )
    return read_labels(path, reference=geometry).array


def extra_files(folder: Path, cases: Sequence[str]) -> list[str]:
    """Return the files of a folder that are of no case."""
    names = {name for case in cases for name in _names(case)}
    return [
        relative(file, folder)
        for file, stem in files_in(folder, deep=True)
        if stem not in names and relative(file.with_name(stem), folder) not in cases
    ]


def _names(case: str) -> tuple[str, ...]:
    return (case, case.replace("/", "_")) if "/" in case else (case,)
