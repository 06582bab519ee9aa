"""MobileSAM (Zhang et al. 2023) and LiteMedSAM: Segment Anything with a TinyViT encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

from torch import Tensor, nn
from transformers import SamHQModel, SamModel, SamVisionConfig

from samaritan.models import sam
from samaritan.models.family import Family
from samaritan.models.mobile_sam.tiny_vit import TinyViT, at_rest, encoder_state
from samaritan.models.planar import FrameSpec, maker
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.sam import assemble
from samaritan.models.sam.decoder import SamDecoder
from samaritan.models.sam.keys import to_transformers

Rename = Callable[[Mapping[str, object]], dict[str, object]]

_ENCODER = "image_encoder."
# Settings of transformers' encoder where another one stands in its place: as little as it can be made with.
NO_ENCODER: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 0, "num_attention_heads": 1}


class TinyViTSam(nn.Module):
    """TinyViT under the names of the official files, and what follows it under transformers' names.

    Parameters
    ----------
    encoder
        TinyViT.
    model
        Of transformers: its prompt encoder and mask decoder are taken over.
    """

    def __init__(self, encoder: TinyViT, model: SamModel | SamHQModel) -> None:
        super().__init__()
        self.image_encoder = encoder
        self.shared_image_embedding, self.prompt_encoder = model.shared_image_embedding, model.prompt_encoder
        self.mask_decoder = model.mask_decoder


class MobileSam(TinyViTSam):
    """TinyViT, and Segment Anything's prompt encoder and mask decoder.

    Parameters
    ----------
    side
        Of the frame.
    stride
        Of the encoder's entry: 4 in MobileSAM, 1 in LiteMedSAM, whose 256 pixels thus become as many cells.
    """

    def __init__(self, side: int, stride: int) -> None:
        unused = SamVisionConfig(**NO_ENCODER)
        super().__init__(TinyViT(side, stride=stride), assemble(unused, side=side, cells=side // (4 * stride)))


class _Encoder(nn.Module):
    def __init__(self, encoder: TinyViT) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, picture: Tensor) -> tuple[Tensor]:
        return (self.encoder(picture).contiguous(),)


def around_encoder(rename: Rename) -> Rename:
    """Return what gives a checkpoint's tensors the names of a ``TinyViTSam``, without what nothing calls.

    ``rename`` does so for those that are not the encoder's.
    """

    def renamed(tensors: Mapping[str, object]) -> dict[str, object]:
        encoder = {name.removeprefix(_ENCODER): value for name, value in tensors.items() if name.startswith(_ENCODER)}
        rest = {name: value for name, value in tensors.items() if not name.startswith(_ENCODER)}
        return {f"{_ENCODER}{name}": value for name, value in encoder_state(encoder).items()} | rename(rest)

    return renamed


def network(module: nn.Module, device: str) -> TorchNetwork:
    """Return the network of a ``MobileSam`` on a device, its batch norms folded away unless something learns there."""
    model = cast("MobileSam", module)
    cells = model.prompt_encoder.image_embedding_size[0]
    return TorchNetwork(
        _Encoder(at_rest(model.image_encoder)),
        SamDecoder(cast("SamModel", model)),
        shapes={"embedding": (1, model.prompt_encoder.hidden_size, cells, cells)},
        mask_side=4 * cells,
        device=device,
    )


# Its attention has query, key and value of each head together: none of them has a layer, or a part of one, to itself.
ANATOMY = replace(
    sam.ANATOMY,
    encoder=("image_encoder",),
    blocks=("image_encoder.layers.*.blocks.*",),
    attention=("image_encoder.layers.*.blocks.*.attn",),
    mlp=("image_encoder.layers.*.blocks.*.mlp",),
    fused=(),
    entry=("image_encoder",),
    neck=("image_encoder.neck",),
)
FAMILY = Family(
    title="Segment Anything with a TinyViT encoder",
    variants={"mobile-sam": partial(MobileSam, 1024, 4), "lite-medsam": partial(MobileSam, 256, 1)},
    rename=around_encoder(to_transformers),
    model=maker(network),
    frame=FrameSpec(1024),
    anatomy=ANATOMY,
)
