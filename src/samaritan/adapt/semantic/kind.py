"""A model that is adapted to find classes by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

from torch import nn

from samaritan.adapt.base import Base
from samaritan.adapt.census import Census
from samaritan.adapt.kind import Course
from samaritan.adapt.loop import Task
from samaritan.adapt.semantic.heads import HEADS
from samaritan.adapt.semantic.model import SemanticModel
from samaritan.adapt.semantic.network import HEAD, SemanticNetwork, anatomy_of
from samaritan.adapt.semantic.sheets import SheetSampler
from samaritan.adapt.semantic.task import SemanticTask
from samaritan.core.errors import TrainingError
from samaritan.core.model import Model, ModelCard
from samaritan.models.anatomy import Anatomy

DEFAULT_HEAD = "decoder"
_NEIGHBOURS = 3  # slices that are seen of each plane of a volume
_ENLARGED, _LEAST_SIDE = 2.0, 128  # small planes are seen larger
_MOST_CLASSES = 255


@dataclass(frozen=True, slots=True)
class Semantic:
    """Classes by value, found in whole planes.

    Parameters
    ----------
    classes
        Names by the values that they have in label maps.
    head
        Of ``samaritan.adapt.semantic.heads.HEADS``.
    side
        Pixels of the longer side of a plane as it is seen.
    slices
        Slices that are seen of each plane of a volume: 1, or 3 with its neighbours.
    mirror
        Whether planes may be mirrored in training: not where labels tell left from right.

    Raises
    ------
    TrainingError
        If there is no class, or too many, or ``slices`` is another number.
    """

    name: ClassVar[str] = "semantic"
    always: ClassVar[tuple[str, ...]] = (HEAD,)

    classes: Mapping[int, str] = field(default_factory=dict)
    head: str = DEFAULT_HEAD
    side: int = 256
    slices: int = 1
    mirror: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", {int(value): str(name) for value, name in self.classes.items()})
        if not 0 < len(self.classes) <= _MOST_CLASSES or self.slices not in (1, _NEIGHBOURS):
            raise TrainingError(
                got=f"{len(self.classes)} classes in {self.slices} slices",
                wanted=f"1 to {_MOST_CLASSES}, in 1 slice or {_NEIGHBOURS}",
            )

    @classmethod
    def fitting(cls, base: Base, census: Census, *, head: str = DEFAULT_HEAD, side: int | None = None) -> Semantic:
        """Return what suits a data set, as far as it is not said: planes at their size, but small ones larger.

        Raises
        ------
        TrainingError
            As for the class.
        """
        sight = base.sight
        wanted = side or min(sight.side, max(_LEAST_SIDE, round(_ENLARGED * census.longest)))
        multiple = sight.multiple
        return cls(
            classes=census.classes, head=head, side=-(-wanted // multiple) * multiple,
            slices=_NEIGHBOURS if census.volumes else 1, mirror=len(census.classes) == 1 and not census.volumes,
        )  # fmt: skip

    def network(self, base: Base) -> nn.Module:
        """Return the base's network with the head; see ``Kind``."""
        network = base.network()
        head = HEADS.get(self.head)(base.sight, network, 1 + len(self.classes))
        return SemanticNetwork(network, head, base.sight)

    def anatomy(self, base: Base) -> Anatomy:
        """Return that of the base within the network, and the head."""
        return anatomy_of(base.anatomy, uses_decoder=self.head == DEFAULT_HEAD)

    def task(self, _base: Base, course: Course, *, encoder_learns: bool = True) -> Task:  # noqa: ARG002 - planes change
        """Return what the loop is given."""
        sampler = partial(
            SheetSampler, course.data.root, course.data.cases, course.looks, tuple(self.classes.values()),
            course.census.cases, slices=self.slices, mirror=self.mirror,
        )  # fmt: skip
        return SemanticTask(sampler, images=course.images, side=self.side, seed=course.seed)

    def card(self, card: ModelCard) -> ModelCard:
        """Return the card of a model that takes names of classes."""
        return replace(
            card, prompts=frozenset({"text"}), classes=self.classes, slices=self.slices,
            native_shape=(self.side, self.side),
        )  # fmt: skip

    def model(self, base: Base, network: nn.Module, card: ModelCard) -> Model:
        """Return the model; see ``Kind``."""
        return SemanticModel(card, network, side=self.side, multiple=base.sight.multiple)
