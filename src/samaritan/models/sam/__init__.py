"""Segment Anything (Kirillov et al. 2023) with ViT-B, -L and -H encoders; MedSAM (Ma et al. 2024) is a ViT-B."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from torch import Tensor, nn
from transformers import SamConfig, SamModel, SamVisionConfig

from samaritan.models.anatomy import Anatomy
from samaritan.models.family import Family
from samaritan.models.planar import FrameSpec, maker
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.sam.attention import RowwiseAttention
from samaritan.models.sam.decoder import SamDecoder
from samaritan.models.sam.keys import to_transformers

# Width, depth and heads of the encoder; one block in each quarter looks at the whole picture, the others at windows.
SIZES = {"vit-b": (768, 12, 12), "vit-l": (1024, 24, 16), "vit-h": (1280, 32, 16)}
PATCH = 16  # pixels of the frame that a cell of the embedding stands for


class SamEncoder(nn.Module):
    """The vision encoder as a plain module: (n, 3, side, side) to (n, 256, side / 16, side / 16)."""

    def __init__(self, model: SamModel) -> None:
        super().__init__()
        self.vision_encoder = model.vision_encoder

    def forward(self, picture: Tensor) -> tuple[Tensor]:
        """Return the embedding."""
        return (self.vision_encoder(picture).last_hidden_state,)


def build(width: int, depth: int, heads: int, *, side: int = 1024) -> SamModel:
    """Return transformers' model of Segment Anything with an encoder of this size, for pictures of ``side`` pixels."""
    vision = SamVisionConfig(**encoder_settings(width, depth, heads, side=side))
    model = assemble(vision, side=side, cells=side // PATCH)
    use_rowwise_attention(model.vision_encoder.layers)
    return model


def encoder_settings(width: int, depth: int, heads: int, *, side: int) -> dict[str, Any]:
    """Return what transformers' configurations of the encoder call these."""
    quarter = depth // 4
    return {
        "hidden_size": width,
        "mlp_dim": 4 * width,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "global_attn_indexes": [quarter * n - 1 for n in (1, 2, 3, 4)],
        "image_size": side,
    }


def use_rowwise_attention(layers: nn.ModuleList) -> None:
    """Let transformers' layers of the encoder attend in bounded memory."""
    for layer in layers:
        layer.attn = RowwiseAttention(cast("nn.Module", layer.attn))


def assemble(vision: SamVisionConfig, *, side: int, cells: int) -> SamModel:
    """Return transformers' model with this encoder, for pictures of ``side`` pixels and embeddings of ``cells``."""
    prompt = {"image_size": side, "image_embedding_size": cells}
    # The original's decoder adds 1e-5 in its norms; transformers says 1e-6, which changes logits by some 1e-4.
    decoder = {"layer_norm_eps": 1e-5}
    return SamModel(
        SamConfig(vision_config=vision.to_dict(), prompt_encoder_config=prompt, mask_decoder_config=decoder)
    )


def network(module: nn.Module, device: str) -> TorchNetwork:
    """Return the network of a ``SamModel`` on a device."""
    model = cast("SamModel", module)
    channels, cells = model.prompt_encoder.hidden_size, model.prompt_encoder.image_embedding_size[0]
    return TorchNetwork(
        SamEncoder(model),
        SamDecoder(model),
        shapes={"embedding": (1, channels, cells, cells)},
        mask_side=4 * cells,
        device=device,
    )


# Of transformers' ``SamModel``, whatever its size.
ANATOMY = Anatomy(
    encoder=("vision_encoder",),
    prompts=("prompt_encoder", "shared_image_embedding"),
    decoder=("mask_decoder",),
    blocks=("vision_encoder.layers.*",),
    attention=("vision_encoder.layers.*.attn",),
    mlp=("vision_encoder.layers.*.mlp",),
    fused=("vision_encoder.layers.*.attn.qkv",),
    apart=(
        "mask_decoder.transformer.layers.*.*attn*.q_proj",
        "mask_decoder.transformer.layers.*.*attn*.v_proj",
        "mask_decoder.transformer.final_attn_token_to_image.q_proj",
        "mask_decoder.transformer.final_attn_token_to_image.v_proj",
    ),
    entry=("vision_encoder",),
    neck=("vision_encoder.neck",),
    channels_last=True,
)
FAMILY = Family(
    title="Segment Anything with a ViT encoder",
    variants={f"sam-{name}": partial(build, *size) for name, size in SIZES.items()},
    rename=to_transformers,
    model=maker(network),
    frame=FrameSpec(1024),
    anatomy=ANATOMY,
)
