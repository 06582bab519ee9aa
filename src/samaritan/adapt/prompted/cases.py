"""Samples out of a user's data set: pictures and slices with their objects, drawn so that no label is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.adapt.census import Looks
from samaritan.adapt.prompted.crops import Sample
from samaritan.adapt.prompted.view import View
from samaritan.core.errors import TrainingError
from samaritan.core.image import Image, take_plane
from samaritan.data import Case, Labelled, read_image, read_objects
from samaritan.infer.intensity import IntensityMap
from samaritan.infer.planes import viewing_axis

Array = NDArray[Any]

Cut = Callable[[View, int, np.random.Generator], Sample | None]

_SLICES = 24  # of a volume, of those with an object
_KEPT = 64  # cases whose views are kept in memory
_TRIES = 50  # at a crop that shows enough of its object


def views_of(root: Path, case: Case, looks: Looks) -> tuple[list[View], dict[int, str]]:
    """Return a picture, or slices of a volume with an object in them, as views; and the names of labels by value.

    Slices are across the axis that a volume is looked at along, evenly spread over those with an object.

    Raises
    ------
    SamaritanError
        If the case cannot be read, or has values that are no numbers.
    """
    image = read_image(root, case)
    objects = [item for item in read_objects(root, case, image.geometry) if looks.wants(item)]
    if not objects:
        return [], {}
    axis = viewing_axis(image.geometry)
    along = "ijk".index(axis)
    filled = np.logical_or.reduce([item.mask.any(axis=tuple({0, 1, 2} - {along})) for item in objects])
    indices = np.flatnonzero(filled)
    indices = indices[np.unique(np.linspace(0, len(indices) - 1, min(_SLICES, len(indices))).round().astype(int))]
    shown = IntensityMap.of(image, looks.card, window=looks.window)
    views = [_view(case, shown(image.plane(axis, int(n))), objects, axis, int(n)) for n in indices]
    return [view for view in views if view.objects], {item.value: item.name for item in objects}


class CaseSampler:
    """Draws samples of a data set: first a label, each as often, then a case and a view that has it.

    Views are made when they are first needed, and those of some cases kept.

    Parameters
    ----------
    root, cases, looks
        What is drawn from, and how it is shown.
    having
        A ``Census``'s ``cases``.
    cut
        Makes a sample of so many pixels of a view; None if that shows too little of its objects.
    """

    def __init__(
        self, root: Path, cases: Sequence[Case], looks: Looks, having: Mapping[str, Sequence[int]], *, cut: Cut
    ) -> None:
        self._root, self._cases, self._looks, self._having = root, cases, looks, having
        self._cut = cut
        self._views = lru_cache(maxsize=_KEPT)(self._read)

    def draw(self, size: int, rng: np.random.Generator) -> Sample:
        """Draw one sample of ``size`` x ``size`` pixels.

        Raises
        ------
        TrainingError
            If no crop shows enough of an object.
        """
        labels = sorted(self._having)
        for _ in range(_TRIES):
            name = labels[rng.integers(len(labels))]
            views, names = self._views(self._having[name][int(rng.integers(len(self._having[name])))])
            having = [view for view in views if any(names[value] == name for value in view.structures)]
            view = _of_label(having[rng.integers(len(having))], names, name)
            sample = self._cut(view, size, rng)
            if sample is not None:
                return sample
        raise TrainingError(
            got=f"no crop of {_TRIES} that shows enough of an object", wanted="objects of twenty pixels and more"
        )

    def _read(self, number: int) -> tuple[list[View], dict[int, str]]:
        return views_of(self._root, self._cases[number], self._looks)


def _view(case: Case, plane: Image, objects: Sequence[Labelled], axis: str, index: int) -> View:
    parts = np.zeros(plane.shape[1::-1], np.uint16)  # rows are j, as in a picture
    members, structures = [], []
    for number, item in enumerate(objects, start=1):
        mask = take_plane(item.mask, axis, index)[..., 0].T  # type: ignore[arg-type]  # an axis by name
        if mask.any():
            parts[mask] = number
            members.append((number,))
            structures.append(item.value)
    left = set(np.unique(parts).tolist())  # one that lies under another is not to be seen
    kept = [(who, value) for who, value in zip(members, structures, strict=True) if who[0] in left]
    greys = np.rint(plane.array[..., 0]).astype(np.uint8).transpose(2, 1, 0)
    same = (greys == greys[..., :1]).all()
    return View(
        family=case.dataset,
        modality=case.modality,
        image=np.ascontiguousarray(greys[..., 0] if same else greys),
        parts=parts,
        objects=tuple(who for who, _ in kept),
        structures=tuple(value for _, value in kept),
        case=case.id,
    )


def _of_label(view: View, names: dict[int, str], name: str) -> View:
    """Return a view with the objects of one label only."""
    chosen = [(who, value) for who, value in zip(view.objects, view.structures, strict=True) if names[value] == name]
    return replace(view, objects=tuple(who for who, _ in chosen), structures=tuple(value for _, value in chosen))
