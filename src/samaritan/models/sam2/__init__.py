"""SAM 2 and 2.1 (Ravi et al. 2024) with Hiera encoders; MedSAM2 (Ma et al. 2025) is a tiny one.

A file serves pictures and volumes: which, the card says.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import cast

from torch import nn
from transformers import Sam2VideoModel

from samaritan.core.model import Model, ModelCard
from samaritan.models import sam
from samaritan.models.family import Family
from samaritan.models.planar import FrameSpec, PlanarModel
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.sam2.build import PATCH, SIZES, build, build_for_planes, shapes
from samaritan.models.sam2.decoder import Sam2Decoder, Sam2Encoder
from samaritan.models.sam2.keys import to_transformers
from samaritan.models.sam2.tracker import Tracker
from samaritan.models.sam2.volume import VolumeModel


def network(module: nn.Module, device: str, *, side: int = 1024) -> TorchNetwork:
    """Return the network for pictures of a ``Sam2VideoModel`` on a device, for frames of ``side`` pixels.

    A ``Sam2Model`` will do: it has the parts that are needed, under the same names.
    """
    model = cast("Sam2VideoModel", module)
    return TorchNetwork(
        Sam2Encoder(model, alone=True),
        Sam2Decoder(model, side=side),
        shapes=shapes(side),
        mask_side=4 * (side // PATCH),
        pads_boxes=True,
        device=device,
    )


def _model(module: nn.Module, card: ModelCard, frame: FrameSpec | None, device: str) -> Model:
    assert frame is not None  # noqa: S101 - the family has one
    if card.dims == 3:
        return VolumeModel(card, Tracker(cast("Sam2VideoModel", module), side=frame.side, device=device), frame)
    return PlanarModel(card, network(module, device, side=frame.side), frame)


# Resized as tensors of floats, unlike the pictures of SAM's first version.
_FRAME = FrameSpec(1024, fit="stretch", whole=False)
# The newer ones first: a file without the memory, in which alone they differ, is taken for one of these.
_NAMED = {
    f"{version}-{name}": (size, newer)
    for version, newer in (("sam2.1", True), ("sam2", False))
    for name, size in SIZES.items()
}
# Whatever serves volumes alone is in none of its parts: it stays as it is.
ANATOMY = replace(
    sam.ANATOMY,
    blocks=("vision_encoder.backbone.blocks.*",),
    attention=("vision_encoder.backbone.blocks.*.attn",),
    mlp=("vision_encoder.backbone.blocks.*.mlp",),
    fused=("vision_encoder.backbone.blocks.*.attn.qkv",),
    neck=(),  # there are several
)
FAMILY = Family(
    title="Segment Anything 2 with a Hiera encoder and a memory of other slices",
    variants={name: partial(build, size, newer=newer) for name, (size, newer) in _NAMED.items()},
    planes={name: partial(build_for_planes, size) for name, (size, _) in _NAMED.items()},
    rename=to_transformers,
    model=_model,
    frame=_FRAME,
    anatomy=ANATOMY,
)
