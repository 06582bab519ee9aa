"""What is in a data set, and what is wrong with it: every case is read once, and only what is found is kept."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from samaritan.core.errors import GeometryMismatchError, SamaritanError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.parallel import mapped
from samaritan.data.case import Case, DataSet
from samaritan.data.reading import read_image, read_objects

TINY_VOXELS = 10
_MANY_VALUES = 64
_TOLD = 8  # of a kind, by name

# The kinds of problem; of the first ones, the case cannot be used.
UNREADABLE, BAD_REFERENCE, MISMATCH = "unreadable", "reference unreadable", "other grid than its image"
NO_REFERENCE, EMPTY, TINY, UNNAMED, MANY = "no reference", "empty", "tiny", "value without a name", "many values"
DUPLICATE, TWO_SPLITS, NOTE = "same content", "patient in two splits", "odd file"
FATAL = frozenset({UNREADABLE, BAD_REFERENCE, MISMATCH})


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: its ``kind``, the ``cases`` it is about, and a ``detail`` for people."""

    kind: str
    cases: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """One object drawn: label ``value`` and ``name``, ``voxels``, and ``size`` in ml (px in pictures without scale)."""

    value: int
    name: str
    voxels: int
    size: float


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """What reading a case has shown; all but ``id`` and ``problems`` are empty if its image cannot be read.

    Parameters
    ----------
    id
        Of the case.
    shape, spacing_mm, orientation
        Of its grid; spacing and orientation None where they are unknown.
    channels, values
        Number of channels; lowest and highest value.
    modality
        As the file or the layout says.
    digest
        Of the values, whatever they are stored as: the same for the same image.
    objects
        What is drawn.
    problems
        What is wrong with it alone.
    """

    id: str
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] | None = None
    orientation: str | None = None
    channels: int = 0
    values: tuple[float, float] = (math.nan, math.nan)
    modality: str = ""
    digest: str = ""
    objects: tuple[ObjectFacts, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def unit(self) -> str:
        """The unit of the sizes of its objects."""
        return "px" if self.spacing_mm is None else "mm2" if self.shape[2:] == (1,) else "ml"

    def columns(self) -> dict[str, Any]:
        """Return what the manifest keeps."""
        return {
            "shape": list(self.shape),
            "spacing_mm": None if self.spacing_mm is None else list(self.spacing_mm),
            "orientation": self.orientation,
            "digest": self.digest,
            "objects": len(self.objects),
            "voxels": sum(found.voxels for found in self.objects),
            "usable": not any(problem.kind in FATAL for problem in self.problems),
        }


@dataclass(frozen=True, slots=True)
class Inspection:
    """A data set with the facts of its cases, in order, and all that is wrong."""

    data: DataSet
    facts: tuple[CaseFacts, ...]
    problems: tuple[Problem, ...]

    @property
    def failed(self) -> frozenset[str]:
        """The cases that cannot be used."""
        return frozenset(name for problem in self.problems if problem.kind in FATAL for name in problem.cases)


def inspect(data: DataSet, *, workers: int = 1, progress: Callable[[str, int, int], None] | None = None) -> Inspection:
    """Read every case of a data set, and return what it is like and what is wrong with it.

    Parameters
    ----------
    data
        To be inspected.
    workers
        Processes that read.
    progress
        Called with a word, the number of cases done, and of all.
    """
    facts = []
    for done, found in enumerate(mapped(partial(examine, data.root), data.cases, workers=workers), start=1):
        facts.append(found)
        if progress:
            progress("inspecting", done, len(data.cases))
    problems = [problem for found in facts for problem in found.problems]
    problems += [*_duplicates(facts), *_in_two_splits(data.cases)]
    problems += [Problem(NOTE, (), note) for note in data.notes]
    return Inspection(data, tuple(facts), tuple(problems))


def examine(root: Path, case: Case) -> CaseFacts:
    """Return the facts of one case."""
    try:
        image = read_image(root, case)
    except SamaritanError as error:
        return CaseFacts(case.id, modality=case.modality, problems=(Problem(UNREADABLE, (case.id,), str(error)),))
    spacing = image.geometry.spacing_mm
    objects, problems = _objects(root, case, image.geometry)
    return CaseFacts(
        id=case.id,
        shape=image.shape,
        spacing_mm=None if spacing is None else tuple(float(s) for s in spacing),
        orientation=image.geometry.orientation,
        channels=len(image.channels),
        values=(float(image.array.min()), float(image.array.max())),
        modality=case.modality or image.modality,
        digest=digest_of(image),
        objects=objects,
        problems=problems,
    )


def digest_of(image: Image) -> str:
    """Return a digest of the values of an image, the same however they are stored."""
    digest = hashlib.sha256(repr(image.array.shape).encode())
    for plane in np.moveaxis(image.array, -1, 0):  # plane by plane: a volume in float64 would be four times as large
        digest.update(np.ascontiguousarray(plane, np.float64).data)
    return digest.hexdigest()


def _objects(root: Path, case: Case, geometry: Geometry) -> tuple[tuple[ObjectFacts, ...], tuple[Problem, ...]]:
    if case.reference is None:
        return (), (Problem(NO_REFERENCE, (case.id,)),)
    objects = []
    try:
        for found in read_objects(root, case, geometry):
            voxels = int(np.count_nonzero(found.mask))
            objects.append(ObjectFacts(found.value, found.name, voxels, voxels * _voxel_size(geometry)))
    except GeometryMismatchError as error:
        return tuple(objects), (Problem(MISMATCH, (case.id,), str(error)),)
    except SamaritanError as error:
        return tuple(objects), (Problem(BAD_REFERENCE, (case.id,), str(error)),)
    return tuple(objects), tuple(_oddities(case, objects))


def _voxel_size(geometry: Geometry) -> float:
    """Return the size of a voxel in ml, of a pixel with a scale in mm2; 1 without a scale."""
    spacing = geometry.spacing_mm
    if spacing is None:
        return 1.0
    return float(np.prod(spacing[:2])) if geometry.is_2d else float(np.prod(spacing)) / 1000


def _oddities(case: Case, objects: Sequence[ObjectFacts]) -> Iterator[Problem]:
    if not objects:
        yield Problem(EMPTY, (case.id,), "nothing is drawn in its reference")
    tiny = [f"{found.name}: {found.voxels}" for found in objects if found.voxels < TINY_VOXELS]
    if tiny:
        more = f" and {len(tiny) - _TOLD} more" if len(tiny) > _TOLD else ""
        yield Problem(TINY, (case.id,), f"voxels of {', '.join(tiny[:_TOLD])}{more}")
    reference = case.reference
    if reference is None or reference.instances:
        return
    unnamed = sorted({found.value for found in objects} - set(reference.names))
    if reference.names and unnamed:
        named = ", ".join(map(str, reference.names))
        yield Problem(UNNAMED, (case.id,), f"{', '.join(map(str, unnamed[:_TOLD]))}; those named are {named}")
    if not reference.names and len({found.value for found in objects}) > _MANY_VALUES:
        detail = f"{len(objects)} values, and no names: objects counted one by one, or a mask saved with losses?"
        yield Problem(MANY, (case.id,), detail)


def _duplicates(facts: Sequence[CaseFacts]) -> Iterator[Problem]:
    alike: dict[str, list[str]] = defaultdict(list)
    for found in facts:
        if found.digest:
            alike[found.digest].append(found.id)
    yield from (
        Problem(DUPLICATE, tuple(ids), "the images have the same values") for ids in alike.values() if len(ids) > 1
    )


def _in_two_splits(cases: Sequence[Case]) -> Iterator[Problem]:
    seen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        if case.patient and case.split:
            seen[case.subject][case.split].append(case.id)
    for splits in seen.values():
        if len(splits) > 1:
            yield Problem(
                TWO_SPLITS, tuple(name for ids in splits.values() for name in ids), " and ".join(sorted(splits))
            )
