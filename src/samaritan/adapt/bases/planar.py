"""Models of Segment Anything's shape as what is adapted, whichever family they are of.

What learns is the module that a checkpoint fills, under that one's names. At each step the model that users have is
made of it, and asked as at inference: so no family says anything twice.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from samaritan.adapt.base import Base
from samaritan.adapt.framing import scaled
from samaritan.adapt.loop import Task
from samaritan.adapt.prompted.cases import CaseSampler
from samaritan.adapt.prompted.planar import PlanarTask
from samaritan.adapt.sight import Features, Sight
from samaritan.core.errors import TrainingError
from samaritan.core.model import Model, ModelCard
from samaritan.models.planar import FrameSpec, PlanarModel
from samaritan.models.planar.network import PAD
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.published import Opened, Published, open_published
from samaritan.models.sam.upscale import to_cells, to_map

_FLAT = 3  # dimensions of features by place
_NOISE = 0.02  # that tells tokens of classes apart at first


def base(opened: Opened) -> Base:
    """Return the base that a checkpoint is.

    Raises
    ------
    TrainingError
        If it is of no family of planes that can be adapted.
    """
    anatomy, model = opened.known.record.anatomy, opened.model("cpu")
    if anatomy is None or not isinstance(model, PlanarModel):
        about = "which sees volumes" if opened.card.dims == 3 else "of a family that cannot be adapted"
        raise TrainingError(
            got=f"model {opened.card.name}, {about}",
            wanted="a model of planes, such as tiny, sam-vit-b, medsam or sam2.1-tiny",
        )
    make, frame = partial(_model, opened.known), model.frame
    asked = partial(_asked, make, opened.card)
    spec = cast("TorchNetwork", model.network).spec
    return Base(
        card=opened.card,
        sha256=opened.card.sha256,
        anatomy=anatomy,
        network=_Modules(opened),
        model=make,
        prompted=partial(_prompted, asked, frame, opened.card.prompts),
        sight=Sight(
            widths={frame.side // side: width for width, side in map(_size, spec.shapes.values())},
            see=partial(_see, asked, frame),
            decoder=partial(_Classes, asked),
            side=frame.side,
            multiple=frame.side,
        ),
        file=opened.path,
    )


class _Modules:
    """Modules with a checkpoint's weights, each a new one; the one that was read first is the first."""

    def __init__(self, opened: Opened) -> None:
        self._known, self._path = opened.known, opened.path
        self._first: nn.Module | None = opened.module

    def __call__(self) -> nn.Module:
        module, self._first = self._first, None
        return open_published(self._known.card.name, weights=self._path).module if module is None else module


def _model(known: Published, module: nn.Module, card: ModelCard) -> Model:
    return known.made(module, card, next(module.parameters()).device.type)


def _asked(make: Callable[[nn.Module, ModelCard], Model], card: ModelCard, module: nn.Module) -> TorchNetwork:
    """Return the network of a module as it is asked at inference."""
    return cast("TorchNetwork", cast("PlanarModel", make(module, card)).network)


def _prompted(  # noqa: PLR0913 - of a model and of a run
    asked: Callable[[nn.Module], TorchNetwork], frame: FrameSpec, kinds: frozenset[str],
    make_sampler: Callable[..., CaseSampler], *, steps: int, images: int, seed: int,
    encoder_learns: bool,
) -> Task:  # fmt: skip
    _ = steps  # one is like another
    return PlanarTask(
        make_sampler, asked, frame=frame, kinds=kinds, images=images, seed=seed, encoder_learns=encoder_learns
    )


def _see(asked: Callable[[nn.Module], TorchNetwork], frame: FrameSpec, module: nn.Module, pictures: Tensor) -> Features:
    maps = asked(module).encoder(scaled(pictures, frame))
    cells = maps[0].shape[-1]
    found = {}
    for seen in maps:
        _, side = _size(seen.shape)
        flat = seen.ndim == _FLAT
        found[frame.side // side] = to_map(seen, cells, (side // cells).bit_length() - 1) if flat else seen
    return found


def _size(shape: Sequence[int]) -> tuple[int, int]:
    """Return channels and side of features (n, channels, side, side), or of their places (n, side², channels)."""
    return (shape[2], math.isqrt(shape[1])) if len(shape) == _FLAT else (shape[1], shape[3])


class _Classes(nn.Module):
    """Segment Anything's decoder with nothing asked and tokens of classes in place of those of its masks.

    As SAMed has it (Zhang & Liu 2023, arXiv:2304.13785), but with tokens of its own rather than more of the decoder's.
    """

    def __init__(self, asked: Callable[[nn.Module], TorchNetwork], network: nn.Module, masks: int) -> None:
        super().__init__()
        self._asked = asked
        decoder = cast("nn.Module", network.mask_decoder)
        tokens = cast("nn.Embedding", decoder.mask_tokens).weight.detach()
        repeated = tokens[torch.arange(masks) % len(tokens)]
        self.tokens = nn.Parameter(repeated + _NOISE * torch.randn(masks, tokens.shape[1]).to(tokens))
        first = cast("nn.ModuleList", decoder.output_hypernetworks_mlps)[0]
        self.draw = nn.ModuleList(copy.deepcopy(first) for _ in range(masks))

    def forward(self, base: nn.Module, features: Features) -> Tensor:
        """Return the logits (n, masks, rows, columns)."""
        network = self._asked(base)
        strides = sorted(features, reverse=True)
        coarse = features[strides[0]]
        cells = coarse.shape[-1]
        rest = [
            to_cells(features[stride], cells, step) if len(network.spec.shapes[name]) == _FLAT else features[stride]
            for step, (stride, name) in enumerate(zip(strides[1:], list(network.spec.shapes)[1:], strict=True), start=1)
        ]
        n, side = len(coarse), network.spec.mask_side
        coords, labels = coarse.new_zeros(n, 1, 2), torch.full((n, 1), PAD, device=coarse.device)
        mask, has_mask = coarse.new_zeros(n, 1, side, side), coarse.new_zeros(n)
        decoder = cast("Any", network.decoder)
        tokens, fine = decoder.attend(self.tokens, (coarse, *rest), coords, labels, mask, has_mask)
        drawn = torch.stack([draw(tokens[:, number]) for number, draw in enumerate(self.draw)], dim=2)
        return to_map(fine @ drawn, cells, 2)
