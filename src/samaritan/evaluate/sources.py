"""What a unit of a run is made of, told without reading it: so that what is kept of other files or models is known.

Of a file its name, its size and the time of its last change are looked at, and of a folder (a DICOM series) those of
all files in it.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from samaritan.data import Case
from samaritan.evaluate.predictions import Listing

MadeOf = dict[str, str]

_IN_PARTS = frozenset({".mhd", ".nhdr", ".hdr", ".img"})  # whose voxels, or header, lie in another file beside


class Sources:
    """What the units of a run are made of; each folder of predictions is looked through once.

    Parameters
    ----------
    root
        Folder of the data.
    weights
        What tells the weights of each model from others of its name.
    folders
        Of masks that others have made, by the name that they go by.
    """

    def __init__(self, root: Path, weights: Mapping[str, str], folders: Mapping[str, Path]) -> None:
        self._root, self._weights, self._folders = root, weights, folders
        self._listings: dict[str, Listing] = {}
        self._cases: dict[str, str] = {}

    def of_case(self, case: Case) -> MadeOf:
        """Return what tells image and reference of a case, and how they are read, from what they were before."""
        if case.id not in self._cases:
            read = (case.images, case.channels, case.series, case.modality, case.reference)
            paths = (*case.images, *(case.reference.paths if case.reference else ()))
            self._cases[case.id] = _digest(
                [repr(read), *(fact for path in paths for fact in _facts(self._root / path))]
            )
        return {"case": self._cases[case.id]}

    def of(self, model: str, case: Case) -> MadeOf:
        """Return what a unit of a model is made of."""
        if model not in self._folders:
            return {**self.of_case(case), "weights": self._weights.get(model, "")}
        predicted = self.predicted(model, case.id)
        return {**self.of_case(case), "prediction": _digest(_facts(predicted)) if predicted else ""}

    def predicted(self, model: str, case: str) -> Path | None:
        """Return the file that somebody has made of a case; None if there is none."""
        if model not in self._listings:
            self._listings[model] = Listing(self._folders[model])
        return self._listings[model].of(case)


def _facts(path: Path) -> Iterator[str]:
    """Yield what is seen of a file, of those that it is read with, or of all files of a folder."""
    try:
        found = path.stat()
    except OSError:
        yield f"{path.name} is not there"
        return
    if stat.S_ISDIR(found.st_mode):
        with os.scandir(path) as entries:
            for name in sorted(entry.name for entry in entries):
                yield from _facts(path / name)
        return
    yield f"{path.name} {found.st_size} {found.st_mtime_ns}"
    if path.suffix.lower() in _IN_PARTS:
        for other in sorted(path.parent.glob(f"{glob.escape(path.stem)}.*")):
            facts = other.stat()
            yield f"{other.name} {facts.st_size} {facts.st_mtime_ns}"


def _digest(facts: Iterator[str] | list[str]) -> str:
    return hashlib.sha256("\n".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:20]
