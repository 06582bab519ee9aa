"""What a data set has to teach: which labels, in which cases, and what of it cannot be read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from samaritan.core.errors import SamaritanError, TrainingError
from samaritan.core.geometry import axis_number
from samaritan.core.model import ModelCard
from samaritan.data import Case, Labelled, read_image, read_objects
from samaritan.infer.intensity import IntensityMap
from samaritan.infer.planes import viewing_axis


@dataclass(frozen=True, slots=True)
class Looks:
    """How pictures are shown to the model, and what of them is asked for.

    Parameters
    ----------
    card
        Of the model: its range of values, window and channels.
    window
        As ``samaritan.infer.segment`` takes it.
    labels
        Names or values of labels; empty for all.
    """

    card: ModelCard
    window: str | None = None
    labels: tuple[str, ...] = ()

    def wants(self, item: Labelled) -> bool:
        """Whether an object's label is asked for."""
        return not self.labels or item.name in self.labels or str(item.value) in self.labels


@dataclass(frozen=True, slots=True)
class Census:
    """What a data set has to teach.

    Attributes
    ----------
    planes, cases
        How many planes, and which cases (by number), have each label.
    values
        The value of each label: that of the first case that has it.
    empty
        Cases without an object.
    unreadable
        Cases that cannot be read, and why.
    volumes
        Whether some case is a volume.
    """

    planes: dict[str, int]
    cases: dict[str, tuple[int, ...]]
    values: dict[str, int] = field(default_factory=dict)
    empty: tuple[str, ...] = ()
    unreadable: dict[str, str] = field(default_factory=dict)
    volumes: bool = False
    longest: int = 0  # side of a plane, in pixels

    @property
    def classes(self) -> dict[int, str]:
        """Labels by value; numbered from 1 in order if several would have one value."""
        names = sorted(self.cases, key=lambda name: (self.values[name], name))
        if len(set(self.values.values())) < len(names):
            return dict(enumerate(names, start=1))
        return {self.values[name]: name for name in names}


def census(root: Path, cases: Sequence[Case], looks: Looks, progress: Callable[[int], None] | None = None) -> Census:
    """Return what cases have to teach.

    Raises
    ------
    TrainingError
        If no case has an object.
    """
    planes: Counter[str] = Counter()
    having: dict[str, list[int]] = defaultdict(list)
    values: dict[str, int] = {}
    empty: list[str] = []
    unreadable: dict[str, str] = {}
    volumes, longest = False, 0
    for number, case in enumerate(cases):
        try:
            image = read_image(root, case)
            objects = [item for item in read_objects(root, case, image.geometry) if looks.wants(item)]
            IntensityMap.of(image, looks.card, window=looks.window)  # that it can be shown
        except SamaritanError as error:
            unreadable[case.id] = str(error)
            continue
        along = axis_number(viewing_axis(image.geometry))
        others = tuple({0, 1, 2} - {along})
        here = {item.name: np.zeros(image.shape[along], np.bool_) for item in objects if item.mask.any()}
        for item in objects:
            if item.name in here:
                here[item.name] |= item.mask.any(axis=others)
                values.setdefault(item.name, item.value)
        for name, filled in here.items():
            planes[name] += int(filled.sum())
            having[name].append(number)
        if not here:
            empty.append(case.id)
        volumes |= not image.is_2d
        longest = max(longest, *(image.shape[other] for other in others))
        if progress:
            progress(number + 1)
    if not planes:
        asked = f" of {', '.join(looks.labels)}" if looks.labels else ""
        raise TrainingError(
            got=f"no object{asked} in {len(cases)} cases, of which {len(unreadable)} cannot be read",
            wanted="one at least",
            fix="samaritan inspect shows what is in a data set",
        )  # fmt: skip
    return Census(
        dict(planes), {name: tuple(numbers) for name, numbers in having.items()}, values, tuple(empty), unreadable,
        volumes, longest,
    )  # fmt: skip
