"""Names of tensors: those of SAM-HQ's own checkpoints, in terms of transformers' ``SamHQModel``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from samaritan.models.sam import keys as sam_keys

T = TypeVar("T")

# In turn. What is Segment Anything's has its names.
_RENAMED = tuple(
    (re.compile(rf"^mask_decoder\.{pattern}\."), rf"mask_decoder.{replacement}.")
    for pattern, replacement in (
        (r"hf_token", "hq_token"),
        (r"hf_mlp\.layers\.0", "hq_mask_mlp.proj_in"),
        (r"hf_mlp\.layers\.1", "hq_mask_mlp.layers.0"),
        (r"hf_mlp\.layers\.2", "hq_mask_mlp.proj_out"),
        (r"compress_vit_feat\.0", "compress_vit_conv1"),
        (r"compress_vit_feat\.1", "compress_vit_norm"),
        (r"compress_vit_feat\.3", "compress_vit_conv2"),
        (r"embedding_encoder\.0", "encoder_conv1"),
        (r"embedding_encoder\.1", "encoder_norm"),
        (r"embedding_encoder\.3", "encoder_conv2"),
        (r"embedding_maskfeature\.0", "mask_conv1"),
        (r"embedding_maskfeature\.1", "mask_norm"),
        (r"embedding_maskfeature\.3", "mask_conv2"),
    )
)


def to_transformers(tensors: Mapping[str, T]) -> dict[str, T]:
    """Return ``tensors`` by transformers' names; those that have these already stay as they are."""
    return sam_keys.to_transformers({_renamed(name): tensor for name, tensor in tensors.items()})


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name
