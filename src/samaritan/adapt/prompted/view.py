"""Pictures with their objects, as training draws them: balanced, and one object at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

UNION_WEIGHT = 0.15  # of objects that are several pieces, a pair of lungs say, beside one piece of the same area


@dataclass(frozen=True, eq=False)
class View:
    """A 2D image with its objects.

    ``parts`` numbers the connected pieces of all labels (0 is background); an object is a set of parts: one piece, or
    all pieces of a label. ``structures`` says what each object is: the value of its label.
    """

    family: str
    modality: str
    image: Array | None  # uint8 (h, w) or (h, w, 3); None for label maps without an image
    parts: Array  # uint16 (h, w)
    objects: tuple[tuple[int, ...], ...]  # part numbers
    structures: tuple[int, ...]  # as many as there are objects
    case: str = ""  # the id of the case it is of, if it is of one


class Balanced:
    """Views, drawn by modality, then family."""

    def __init__(self, views: Sequence[View]) -> None:
        families: dict[str, dict[str, list[View]]] = {}
        for view in views:
            families.setdefault(view.modality, {}).setdefault(view.family, []).append(view)
        self._groups = [[members for _, members in sorted(group.items())] for _, group in sorted(families.items())]
        shares = np.sqrt([len(group) for group in self._groups])
        self._shares = shares / shares.sum() if len(shares) else shares

    def __bool__(self) -> bool:
        return bool(self._groups)

    def draw(self, rng: np.random.Generator) -> View:
        """Draw a view."""
        group = self._groups[rng.choice(len(self._groups), p=self._shares)]
        views = group[rng.integers(len(group))]
        return views[rng.integers(len(views))]


def anchor_of(view: View, rng: np.random.Generator) -> tuple[int, ...]:
    """Draw the object of a crop: a structure first, then one of its objects, large ones rather more often."""
    structure = rng.choice(sorted(set(view.structures)))
    alike = [members for members, value in zip(view.objects, view.structures, strict=True) if value == structure]
    areas = np.bincount(view.parts.ravel(), minlength=65536)
    weights = np.sqrt([1.0 + sum(int(areas[part]) for part in members) for members in alike])
    weights *= [UNION_WEIGHT if len(members) > 1 else 1.0 for members in alike]
    return alike[rng.choice(len(alike), p=weights / weights.sum())]
