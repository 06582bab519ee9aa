"""Real cases with reference masks, as objects on 2D images: what a benchmark of prompts is run on.

The folder has a `cases.jsonl` with a line a case: `id`, `dataset`, `image`, `mask` (paths relative to the folder),
`modality`, `ndim`, `labels` (value -> name), `use`. Volumes give, for each label, the slice in which it is largest.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray
from training.tiny.cases import VALIDATION_FAMILIES

from samaritan import read, read_labels
from samaritan.autoprompt import simulate
from samaritan.core.errors import GeometryMismatchError
from samaritan.core.image import Image
from samaritan.core.model import ModelCard
from samaritan.core.prompts import Box

Bools = NDArray[np.bool_]

MAX_LABELS = 3
MIN_FRACTION = 0.001  # of the image: smaller objects are not asked for


@dataclass(frozen=True)
class Case:
    """One line of `cases.jsonl`."""

    id: str
    dataset: str
    modality: str
    is_3d: bool
    image: Path
    mask: Path


@dataclass(frozen=True)
class Target:
    """One object to be found on a 2D image: `mask` (i, j, 1), the largest connected piece of a label."""

    label: int
    mask: Bools

    @property
    def box(self) -> Box:
        """The tight box around it."""
        return simulate.tight_box(simulate.Target.of_picture(self.mask[..., 0]))


@dataclass(frozen=True)
class Scene:
    """A 2D image with the objects to be found on it."""

    case: Case
    image: Image
    targets: tuple[Target, ...]


def evaluation_cases(folder: Path, *, limit: int | None = None, held_out: bool = False) -> list[Case]:
    """List the cases to measure on, at most `limit` of each data set, evenly spread over it.

    With `held_out` those of the sets that watch training in place of the evaluation sets: to choose settings on.
    """
    by_dataset: dict[str, list[Case]] = defaultdict(list)
    with (folder / "cases.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            wanted = entry["dataset"] in VALIDATION_FAMILIES if held_out else entry["use"] == "evaluate"
            if wanted and entry["mask"]:
                by_dataset[entry["dataset"]].append(_case(folder, entry))
    return [case for name in sorted(by_dataset) for case in _spread(by_dataset[name], limit)]


def _case(folder: Path, entry: dict[str, Any]) -> Case:
    return Case(
        id=entry["id"],
        dataset=entry["dataset"],
        modality=entry["modality"],
        is_3d=entry["ndim"] == 3,
        image=folder / entry["image"],
        mask=folder / entry["mask"],
    )


def is_trained_on(card: ModelCard, dataset: str) -> bool:
    """Whether the card names a data set among those that the weights were trained on."""
    return any(dataset in re.split(r"[^\w]+", entry) for entry in card.training_data)


def _spread(cases: list[Case], limit: int | None) -> list[Case]:
    if limit is None or len(cases) <= limit:
        return cases
    return [cases[round(at)] for at in np.linspace(0, len(cases) - 1, limit)]


def scenes(case: Case) -> Iterator[Scene]:
    """Read a case and give its images with their objects; none if no object is large enough.

    Raises
    ------
    SamaritanError
        If it cannot be read, or its mask is not on the grid of its image.
    """
    image = read(case.image)
    labels = read_labels(case.mask).array
    if labels.shape != image.shape:
        raise GeometryMismatchError(got=f"mask of {labels.shape} for an image of {image.shape}")
    planes: dict[int, list[int]] = defaultdict(list)
    for label in np.unique(labels[labels > 0])[:MAX_LABELS].tolist():
        area = np.count_nonzero(labels == label, axis=(0, 1))
        planes[int(area.argmax())].append(label)
    for k, present in planes.items():
        found = [Target(label, largest_piece(labels[:, :, k : k + 1] == label)) for label in present]
        targets = tuple(t for t in found if np.count_nonzero(t.mask) >= MIN_FRACTION * t.mask.size)
        if targets:
            yield Scene(case, image if image.is_2d else image.plane("k", k), targets)


def largest_piece(mask: Bools) -> Bools:
    """Return the largest connected piece (8 neighbours) of a 2D mask (i, j, 1) that is not empty."""
    return np.asarray(cc3d.largest_k(np.ascontiguousarray(mask[..., 0]), k=1, connectivity=8) > 0)[..., None]
