"""What is adapted: a network with its weights, told from others by their hash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import nn

from samaritan.adapt.loop import Task
from samaritan.adapt.prompted.cases import CaseSampler
from samaritan.adapt.sight import Sight
from samaritan.core.errors import TrainingError
from samaritan.core.model import Model, ModelCard
from samaritan.core.registry import Registry
from samaritan.models.anatomy import Anatomy


class TeachesPrompts(Protocol):
    """Makes the task of learning to be prompted."""

    def __call__(
        self, make_sampler: Callable[..., CaseSampler], *, steps: int, images: int, seed: int, encoder_learns: bool
    ) -> Task:
        """Return it; ``make_sampler`` wants to be told how samples are cut, as ``cut``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A model that can be adapted.

    Parameters
    ----------
    card
        Of the model as it is.
    sha256
        Of its weights: an adapter fits these alone.
    anatomy
        Which parts of its network are what.
    network
        Makes the network with its weights, a new one at each call.
    model
        Makes the model as users have it of such a network and a card, adapted or not.
    prompted
        Makes what teaches it to be prompted.
    sight
        How its encoder sees without prompts.
    file
        Where its weights lie; None of a model that is built in.
    """

    card: ModelCard
    sha256: str
    anatomy: Anatomy
    network: Callable[[], nn.Module]
    model: Callable[[nn.Module, ModelCard], Model]
    prompted: TeachesPrompts
    sight: Sight
    file: Path | None = None


BASES: Registry[Callable[[], Base]] = Registry("model that can be adapted", "samaritan.bases")
BASES.register("tiny", "samaritan.adapt.bases.tiny:base")


def base_of(name: str, *, weights: Path | None = None) -> Base:
    """Return the base of a model's name, or of a checkpoint; see ``samaritan.models.load_model``.

    Raises
    ------
    TrainingError
        If the model cannot be adapted.
    WeightsError, UnknownNameError
        As ``load_model``.
    """
    if name in BASES and weights is None:
        return BASES.get(name)()
    from samaritan.adapt.bases.planar import base  # noqa: PLC0415 - transformers take seconds, which others need not
    from samaritan.models.published import open_file, open_published, published_names  # noqa: PLC0415 - as above

    if name in published_names():
        return base(open_published(name, weights=weights))
    path = weights or Path(name)
    if path.is_file():
        return base(open_file(path))
    raise TrainingError(
        got=f"model {name}, which cannot be adapted",
        wanted=f"{', '.join(BASES)}, a published model of Segment Anything's kind, or a checkpoint of one",
        fix="samaritan models lists them",
    )
