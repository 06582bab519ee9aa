"""SAM-HQ (Ke et al. 2023): Segment Anything with masks that follow fine outlines, in the sizes ViT-B, -L and -H."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from torch import nn
from transformers import SamHQConfig, SamHQModel

from samaritan.models.family import Family
from samaritan.models.planar import FrameSpec, maker
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.sam import ANATOMY, PATCH, SIZES, encoder_settings, use_rowwise_attention
from samaritan.models.sam_hq.decoder import HqDecoder, HqEncoder, ViTWithEarly
from samaritan.models.sam_hq.keys import to_transformers


def build(width: int, depth: int, heads: int, *, side: int = 1024) -> SamHQModel:
    """Return transformers' model of SAM-HQ with an encoder of this size, for pictures of ``side`` pixels."""
    model = assemble(encoder_settings(width, depth, heads, side=side), early=width, side=side)
    use_rowwise_attention(model.vision_encoder.layers)
    return model


def assemble(vision: dict[str, Any], *, early: int, side: int) -> SamHQModel:
    """Return transformers' model of SAM-HQ with an encoder of the settings ``vision``, for pictures of ``side`` pixels.

    ``early`` counts the channels of the encoder's early features.
    """
    config = SamHQConfig(
        vision_config=vision,
        prompt_encoder_config={"image_size": side, "patch_size": PATCH},
        # The original adds 1e-5, as in Segment Anything; see there.
        mask_decoder_config={"vit_dim": early, "layer_norm_eps": 1e-5},
    )
    return SamHQModel(config)


def network(module: nn.Module, device: str) -> TorchNetwork:
    """Return the network of a ``SamHQModel`` on a device."""
    model = cast("SamHQModel", module)
    return around(ViTWithEarly(model), model, device)


def around(encoder: nn.Module, model: SamHQModel, device: str) -> TorchNetwork:
    """Return the network that an encoder and SAM-HQ's decoder make on a device; see ``HqEncoder`` for the encoder."""
    channels, cells = model.prompt_encoder.hidden_size, model.prompt_encoder.image_embedding_size[0]
    return TorchNetwork(
        HqEncoder(encoder, model),
        HqDecoder(model),
        shapes={"embedding": (1, channels, cells, cells), "details": (1, channels // 8, 4 * cells, 4 * cells)},
        mask_side=4 * cells,
        device=device,
    )


FAMILY = Family(
    title="Segment Anything in high quality, with a ViT encoder",
    variants={f"sam-hq-{name}": partial(build, *size) for name, size in SIZES.items()},
    rename=to_transformers,
    model=maker(network),
    frame=FrameSpec(1024),
    anatomy=ANATOMY,
)
