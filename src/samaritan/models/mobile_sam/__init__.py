"""MobileSAM (Zhang et al. 2023) and LiteMedSAM: Segment Anything with a TinyViT encoder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

from torch import Tensor, nn
from transformers import SamModel, SamVisionConfig

from samaritan.models.family import Family
from samaritan.models.mobile_sam.tiny_vit import TinyViT, encoder_state, fused
from samaritan.models.planar import FrameSpec, maker
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.sam import assemble
from samaritan.models.sam.decoder import SamDecoder
from samaritan.models.sam.keys import to_transformers

_ENCODER = "image_encoder."


class MobileSam(nn.Module):
    """TinyViT, and Segment Anything's prompt encoder and mask decoder under transformers' names.

    Parameters
    ----------
    side
        Of the frame.
    stride
        Of the encoder's entry: 4 in MobileSAM, 1 in LiteMedSAM, whose 256 pixels thus become as many cells.
    """

    def __init__(self, side: int, stride: int) -> None:
        super().__init__()
        self.image_encoder = TinyViT(side, stride=stride)
        unused = SamVisionConfig(hidden_size=16, num_hidden_layers=0, num_attention_heads=1)
        model = assemble(unused, side=side, cells=side // (4 * stride))
        self.shared_image_embedding, self.prompt_encoder = model.shared_image_embedding, model.prompt_encoder
        self.mask_decoder = model.mask_decoder


class _Encoder(nn.Module):
    def __init__(self, encoder: TinyViT) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, picture: Tensor) -> tuple[Tensor]:
        return (self.encoder(picture).contiguous(),)


def rename(tensors: Mapping[str, object]) -> dict[str, object]:
    """Return a checkpoint's tensors by ``MobileSam``'s names, without what nothing calls."""
    encoder = {name.removeprefix(_ENCODER): value for name, value in tensors.items() if name.startswith(_ENCODER)}
    rest = {name: value for name, value in tensors.items() if not name.startswith(_ENCODER)}
    kept = encoder_state(encoder)
    return {f"{_ENCODER}{name}": value for name, value in kept.items()} | to_transformers(rest)


def network(module: nn.Module, device: str) -> TorchNetwork:
    """Return the network of a ``MobileSam`` on a device, its batch norms folded away."""
    model = cast("MobileSam", module)
    cells = model.prompt_encoder.image_embedding_size[0]
    return TorchNetwork(
        _Encoder(fused(model.image_encoder)),
        SamDecoder(cast("SamModel", model)),
        shapes={"embedding": (1, model.prompt_encoder.hidden_size, cells, cells)},
        mask_side=4 * cells,
        device=device,
    )


FAMILY = Family(
    title="Segment Anything with a TinyViT encoder",
    variants={"mobile-sam": partial(MobileSam, 1024, 4), "lite-medsam": partial(MobileSam, 256, 1)},
    rename=rename,
    model=maker(network),
    frame=FrameSpec(1024),
)
