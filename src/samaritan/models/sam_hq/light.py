"""Light HQ-SAM (Ke et al. 2023): SAM-HQ with MobileSAM's TinyViT for its encoder."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import cast

from torch import Tensor, nn
from transformers import SamHQModel

from samaritan.models.family import Family
from samaritan.models.mobile_sam import ANATOMY, NO_ENCODER, TinyViTSam, around_encoder
from samaritan.models.mobile_sam.tiny_vit import EARLY_CHANNELS, TinyViT, at_rest
from samaritan.models.planar import FrameSpec, maker
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.sam_hq import around, assemble
from samaritan.models.sam_hq.keys import to_transformers


class _Encoder(nn.Module):
    """TinyViT as ``HqEncoder`` wants an encoder."""

    def __init__(self, encoder: TinyViT) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        embedding, early = self.encoder.with_early(picture)
        return embedding.contiguous(), early


def build(side: int) -> TinyViTSam:
    """Return Light HQ-SAM for pictures of ``side`` pixels."""
    return TinyViTSam(TinyViT(side), assemble(NO_ENCODER, early=EARLY_CHANNELS, side=side))


def network(module: nn.Module, device: str) -> TorchNetwork:
    """Return the network of Light HQ-SAM on a device, its batch norms folded away unless something learns there."""
    encoder = cast("TinyViTSam", module).image_encoder
    return around(_Encoder(at_rest(encoder)), cast("SamHQModel", module), device)


FAMILY = Family(
    title="Segment Anything in high quality, with a TinyViT encoder",
    variants={"sam-hq-vit-tiny": partial(build, 1024)},
    rename=around_encoder(to_transformers),
    model=maker(network),
    frame=FrameSpec(1024),
    anatomy=replace(ANATOMY, entry=()),  # its encoder is asked for early features, not called
)
