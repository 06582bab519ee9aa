"""What is adapted: a network with its weights, told from others by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from samaritan.adapt.semantic.tiny import SIGHT
from samaritan.adapt.sight import Sight
from samaritan.core.errors import TrainingError
from samaritan.core.model import Model, ModelCard
from samaritan.core.registry import Registry
from samaritan.models.anatomy import Anatomy
from samaritan.models.tiny import FOLDER
from samaritan.models.tiny.adapter import TinyModel
from samaritan.models.tiny.network import ANATOMY, NETWORK_FILE, load_network
from samaritan.models.tiny.torch_graph import TorchGraph


@dataclass(frozen=True, slots=True)
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
    sight
        How its encoder sees without prompts.
    """

    card: ModelCard
    sha256: str
    anatomy: Anatomy
    network: Callable[[], nn.Module]
    model: Callable[[nn.Module, ModelCard], Model]
    sight: Sight


BASES: Registry[Callable[[], Base]] = Registry("model that can be adapted", "samaritan.bases")
BASES.register("tiny", "samaritan.adapt.base:tiny")


def base_of(name: str) -> Base:
    """Return the base of a model's name.

    Raises
    ------
    TrainingError
        If the model cannot be adapted.
    """
    if name not in BASES:
        raise TrainingError(got=f"model {name}, which cannot be adapted yet", wanted=f"one of: {', '.join(BASES)}")
    return BASES.get(name)()


def tiny() -> Base:
    """Return the default model's base."""
    weights = FOLDER / "weights" / NETWORK_FILE

    def model(network: nn.Module, card: ModelCard) -> Model:
        return TinyModel(FOLDER, network=TorchGraph(network), card=card)

    card = TinyModel(FOLDER).card
    return Base(card, _sha256(weights), ANATOMY, lambda: load_network(weights), model, SIGHT)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
