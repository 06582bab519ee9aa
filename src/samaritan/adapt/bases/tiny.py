"""The default model as what is adapted: how it is taught to be prompted, and how it sees without prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import cast

from torch import Tensor, nn

from samaritan.adapt.base import Base
from samaritan.adapt.loop import Task
from samaritan.adapt.prompted.cases import CaseSampler
from samaritan.adapt.prompted.crops import zoomed
from samaritan.adapt.prompted.tiny import Plan, PromptedTask
from samaritan.adapt.sight import Features, Sight
from samaritan.core.model import Model, ModelCard
from samaritan.models.tiny import FOLDER
from samaritan.models.tiny.adapter import TinyModel
from samaritan.models.tiny.network import ANATOMY, DESIGN, NETWORK_FILE, Embedding, Said, TinyNetwork, load_network
from samaritan.models.tiny.torch_graph import TorchGraph

_SIDE = 192  # pixels of a crop: that of a window at inference


class Decoder(nn.Module):
    """The default model's decoder with nothing said, and a mask for each class in place of one of an object."""

    def __init__(self, channels: int, masks: int) -> None:
        super().__init__()
        self.masks = nn.Conv2d(channels, masks, 3, padding=1)

    def forward(self, base: nn.Module, features: Features) -> Tensor:
        """Return the logits (n, masks, rows, columns)."""
        seen = Embedding(*(features[stride] for stride in (16, 8, 4, 2)))
        said = Said.nothing(seen.s4)
        logits: Tensor = self.masks(cast("TinyNetwork", base).decoder.features(seen, said)[0])
        return logits


def _see(base: nn.Module, pictures: Tensor) -> Features:
    network = cast("TinyNetwork", base)
    quarter = pictures.new_zeros(len(pictures), 1, pictures.shape[2] // 4, pictures.shape[3] // 4)
    seen = network.encoder(pictures, Said.nothing(quarter))
    return {16: seen.s16, 8: seen.s8, 4: seen.s4, 2: seen.s2}


def _decoder(_network: nn.Module, masks: int) -> nn.Module:
    return Decoder(DESIGN.widths[2], masks)


SIGHT = Sight(widths=DESIGN.widths, see=_see, decoder=_decoder, side=256, multiple=32)


def base() -> Base:
    """Return the default model's base."""
    weights = FOLDER / "weights" / NETWORK_FILE
    return Base(
        card=TinyModel(FOLDER).card,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        anatomy=ANATOMY,
        network=partial(load_network, weights),
        model=_model,
        prompted=_prompted,
        sight=SIGHT,
    )


def _model(network: nn.Module, card: ModelCard) -> Model:
    return TinyModel(FOLDER, network=TorchGraph(network), card=card)


def _prompted(
    make_sampler: Callable[..., CaseSampler], *, steps: int, images: int, seed: int, encoder_learns: bool
) -> Task:
    _ = encoder_learns  # prompts enter it: nothing of it can be kept from one to the next
    plan = Plan(steps=steps, seed=seed, images=images, sides=(_SIDE,), stages=(1.0,))
    return PromptedTask(plan, partial(make_sampler, cut=zoomed))
