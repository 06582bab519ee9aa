"""A model that is adapted to be prompted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import nn

from samaritan.adapt.base import Base
from samaritan.adapt.kind import Course
from samaritan.adapt.loop import Task
from samaritan.adapt.prompted.cases import CaseSampler
from samaritan.core.model import Model, ModelCard
from samaritan.models.anatomy import Anatomy


@dataclass(frozen=True, slots=True)
class Prompted:
    """Prompts, simulated as people give them, and the mask that is meant."""

    name: ClassVar[str] = "prompt"
    always: ClassVar[tuple[str, ...]] = ()

    def network(self, base: Base) -> nn.Module:
        """Return the base's own; see ``Kind``."""
        return base.network()

    def anatomy(self, base: Base) -> Anatomy:
        """Return that of the base."""
        return base.anatomy

    def task(self, base: Base, course: Course, *, encoder_learns: bool = True) -> Task:
        """Return what the loop is given."""
        sampler = partial(CaseSampler, course.data.root, course.data.cases, course.looks, course.census.cases)
        return base.prompted(
            sampler, steps=course.steps, images=course.images, seed=course.seed, encoder_learns=encoder_learns
        )

    def card(self, card: ModelCard) -> ModelCard:
        """Return the card as it is: an adapted model takes the prompts that its base takes."""
        return card

    def model(self, base: Base, network: nn.Module, card: ModelCard) -> Model:
        """Return the model; see ``Kind``."""
        return base.model(network, card)
