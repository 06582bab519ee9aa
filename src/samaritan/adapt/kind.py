"""What a model is adapted for, a kind a file: to be prompted, or to find classes by itself.

A kind is a frozen record of settings. It says which network learns, on what task, and what model comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import nn

from samaritan.adapt.base import Base
from samaritan.adapt.census import Census, Looks
from samaritan.adapt.loop import Group, Task
from samaritan.adapt.methods import Method
from samaritan.core.model import Model, ModelCard
from samaritan.core.registry import Registry
from samaritan.data import DataSet
from samaritan.models.anatomy import Anatomy

_HEAD_RATE = 1e-3  # of what learns besides what the method says


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is learnt from, and how much of it.

    Parameters
    ----------
    data, census, looks
        The cases, what they have to teach, and how they are shown.
    steps, images, seed
        Of the loop; ``images`` pictures a step.
    """

    data: DataSet
    census: Census
    looks: Looks
    steps: int
    images: int = 8
    seed: int = 0


class Kind(Protocol):
    """A purpose: a frozen dataclass of plain settings."""

    name: ClassVar[str]
    always: ClassVar[tuple[str, ...]]  # parts of the network that learn whatever the method

    def network(self, base: Base) -> nn.Module:
        """Return the network, with the base's weights in it."""

    def anatomy(self, base: Base) -> Anatomy:
        """Return which parts of the network are what."""

    def task(self, base: Base, course: Course, *, encoder_learns: bool = True) -> Task:
        """Return what the loop is given; where the encoder stays as it is, pictures may be encoded once."""

    def card(self, card: ModelCard) -> ModelCard:
        """Return the card of what comes of a model with this one."""

    def model(self, base: Base, network: nn.Module, card: ModelCard) -> Model:
        """Return what comes of the base, from the trained network, on the device that it is on."""


KINDS: Registry[type[Kind]] = Registry("task", "samaritan.tasks")
KINDS.register("prompt", "samaritan.adapt.prompted.kind:Prompted")
KINDS.register("semantic", "samaritan.adapt.semantic.kind:Semantic")


def prepared(kind: Kind, base: Base, method: Method, *, seed: int = 0) -> tuple[nn.Module, list[Group]]:
    """Return the network of a base, ready to learn by a method for a purpose, and what of it learns.

    ``seed`` draws what is added.
    """
    torch.manual_seed(seed)
    network = kind.network(base)
    # Before anything is added: PEFT looks at its weights in the order that it has made them in.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    groups = list(method.prepare(network, kind.anatomy(base)))
    new = [p for part in kind.always for p in network.get_submodule(part).parameters()]
    for parameter in new:
        parameter.requires_grad = True
    apart = _without(new, [p for group in groups for p in group.parameters])
    return network, groups + ([Group(apart, _HEAD_RATE)] if apart else [])


def encoder_learns(network: nn.Module, anatomy: Anatomy) -> bool:
    """Whether anything of the encoder learns, or what was added to it."""
    named = network.named_parameters()
    return any(parameter.requires_grad for name, parameter in named if anatomy.part_of(name) == "encoder")


def _without(parameters: Sequence[nn.Parameter], others: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    taken = {id(parameter) for parameter in others}
    return [parameter for parameter in parameters if id(parameter) not in taken]
