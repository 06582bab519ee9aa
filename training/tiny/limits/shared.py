"""What the experiments share: whom they ask about what, and how they print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from samaritan.adapt.prompted.view import View
from samaritan.autoprompt.simulate import Target, centre_click, tight_box
from samaritan.core.prompts import Prompts
from samaritan.models.tiny import FOLDER
from samaritan.models.tiny.adapter import Network, TinyEmbedding, TinyModel
from training.measures import macro
from training.tiny.cases import VALIDATION_FAMILIES
from training.tiny.quick_check import letterbox, picture

Array = NDArray[Any]

HELD_OUT, TRAINED = "held-out families", "training families"
WORST = 6  # families that are named


@dataclass(frozen=True, eq=False)
class Asked:
    """An object in a picture that the model has taken in."""

    family: str
    embedding: TinyEmbedding
    target: Target

    @property
    def box(self) -> Prompts:
        """Its tight box."""
        return Prompts(self.target.geometry, (tight_box(self.target),))

    @property
    def click(self) -> Prompts:
        """A click in its deepest point."""
        return Prompts(self.target.geometry, (centre_click(self.target),))


@dataclass(frozen=True, eq=False)
class Subject:
    """Whom an experiment asks, and about which pictures."""

    network: Network
    views: Sequence[View]

    @cached_property
    def model(self) -> TinyModel:
        """The model as users have it, with the network in place of the weights that ship."""
        return TinyModel(FOLDER, network=self.network)

    @cached_property
    def asked(self) -> list[Asked]:
        """The objects of all views that have a picture."""
        found = []
        for view in self.views:
            if view.image is not None:
                image, masks = letterbox(view)
                embedding = self.model.embed(picture(image))
                found += [Asked(view.family, embedding, Target.of_picture(mask.T)) for mask in masks]
        return found

    @property
    def groups(self) -> dict[str, list[Asked]]:
        """The objects of the held-out and of the training families; a group without any is left out."""
        parts: dict[str, list[Asked]] = {HELD_OUT: [], TRAINED: []}
        for item in self.asked:
            parts[group_of(item.family)].append(item)
        return {name: part for name, part in parts.items() if part}


def group_of(family: str) -> str:
    """Return whether a family is held out or trains, in words."""
    return HELD_OUT if family in VALIDATION_FAMILIES else TRAINED


def mean_of(values: Sequence[float], part: Sequence[Asked]) -> float:
    """Return the mean over families of a value for each object."""
    return macro(values, [item.family for item in part])


def markdown(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table of rows by name, whose columns are those of the first."""
    columns = list(next(iter(rows.values())))
    lines = [f"| {title} | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{row[column]:.3f}' for column in columns)} |" for name, row in rows.items()]
    return "\n".join(lines)
