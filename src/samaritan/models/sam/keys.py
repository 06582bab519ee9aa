"""Names of tensors: those of Segment Anything's own checkpoints, in terms of transformers' ``SamModel``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

_SHARED = "shared_image_embedding.positional_embedding"
_TIED = "prompt_encoder.shared_embedding.positional_embedding"
# In turn; each replaces what it finds.
_RENAMED = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^image_encoder\.", "vision_encoder."),
        (r"^vision_encoder\.blocks\.", "vision_encoder.layers."),
        (r"^(vision_encoder\.layers\.\d+\.)norm([12])\.", r"\1layer_norm\2."),
        (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
        (r"\.neck\.0\.", ".neck.conv1."),
        (r"\.neck\.1\.", ".neck.layer_norm1."),
        (r"\.neck\.2\.", ".neck.conv2."),
        (r"\.neck\.3\.", ".neck.layer_norm2."),
        (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", _SHARED),
        (r"\.point_embeddings\.", ".point_embed."),
        (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
        (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
        (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
        (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
        (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
        (r"^(mask_decoder\.transformer\.layers\.\d+\.)norm([1234])\.", r"\1layer_norm\2."),
        (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
        (r"\.output_upscaling\.0\.", ".upscale_conv1."),
        (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
        (r"\.output_upscaling\.3\.", ".upscale_conv2."),
        # Small networks of three layers: first, middle, last.
        (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.0\.", r"\1.proj_in."),
        (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.1\.", r"\1.layers.0."),
        (r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.2\.", r"\1.proj_out."),
    )
)


def is_original(names: Mapping[str, object]) -> bool:
    """Whether the names are those of Segment Anything's own repository, not transformers'."""
    return any(name.startswith(("image_encoder.", "prompt_encoder.pe_layer.")) for name in names)


def to_transformers(tensors: Mapping[str, T]) -> dict[str, T]:
    """Return ``tensors`` by transformers' names; those that have these already stay as they are.

    The matrix that places prompts is one parameter under two names there.
    """
    renamed = {_renamed(name): tensor for name, tensor in tensors.items()} if is_original(tensors) else dict(tensors)
    if _SHARED in renamed:
        renamed.setdefault(_TIED, renamed[_SHARED])
    return renamed


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name
