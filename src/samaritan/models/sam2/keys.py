"""Names of tensors: those of SAM 2's own checkpoints, in terms of transformers' ``Sam2VideoModel``.

That model holds all of SAM 2, its memory included, so one file serves pictures and volumes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from torch import Tensor

_SHARED = "shared_image_embedding.positional_embedding"
_TIED = "prompt_encoder.shared_embedding.positional_embedding"
_POINTS = "prompt_encoder.point_embed.weight"
_KIND = re.compile(r"^prompt_encoder\.point_embed\.(\d+)\.weight$")
_BLOCK = r"^(vision_encoder\.backbone\.blocks\.\d+\.)"
_TWO_WAY = r"^(mask_decoder\.transformer\.layers\.\d+\.)"
_MEMORY_LAYER = r"^(memory_attention\.layers\.\d+\.)"
_FUSER = r"^memory_encoder\.fuser\.layers\.(\d+)\."
_SMALL = (
    r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head)|object_pointer_proj)"
)
# In turn; each replaces what it finds.
_RENAMED = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
        (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
        (r"\.patch_embed\.proj\.", ".patch_embed.projection."),
        (_BLOCK + r"norm([12])\.", r"\1layer_norm\2."),
        (_BLOCK + r"mlp\.layers\.0\.", r"\1mlp.proj_in."),
        (_BLOCK + r"mlp\.layers\.1\.", r"\1mlp.proj_out."),
        (r"^sam_prompt_encoder\.", "prompt_encoder."),
        (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", _SHARED),
        (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
        (r"\.mask_downscaling\.0\.", ".mask_embed.conv1."),
        (r"\.mask_downscaling\.1\.", ".mask_embed.layer_norm1."),
        (r"\.mask_downscaling\.3\.", ".mask_embed.conv2."),
        (r"\.mask_downscaling\.4\.", ".mask_embed.layer_norm2."),
        (r"\.mask_downscaling\.6\.", ".mask_embed.conv3."),
        (r"^sam_mask_decoder\.", "mask_decoder."),
        (_TWO_WAY + r"norm([1234])\.", r"\1layer_norm\2."),
        (_TWO_WAY + r"mlp\.layers\.0\.", r"\1mlp.proj_in."),
        (_TWO_WAY + r"mlp\.layers\.1\.", r"\1mlp.proj_out."),
        (r"\.norm_final_attn\.", ".layer_norm_final_attn."),
        (r"\.output_upscaling\.0\.", ".upscale_conv1."),
        (r"\.output_upscaling\.1\.", ".upscale_layer_norm."),
        (r"\.output_upscaling\.3\.", ".upscale_conv2."),
        (r"^((?:mask_decoder|memory_attention)\..*)\.out_proj\.", r"\1.o_proj."),
        (_MEMORY_LAYER + r"norm([123])\.", r"\1layer_norm\2."),
        (r"^memory_attention\.norm\.", "memory_attention.layer_norm."),
        (r"^memory_encoder\.pix_feat_proj\.", "memory_encoder.feature_projection."),
        (r"^memory_encoder\.out_proj\.", "memory_encoder.projection."),
        (_FUSER, r"memory_encoder.memory_fuser.layers.\1."),
        (r"(\.memory_fuser\.layers\.\d+\.)dwconv\.", r"\1depthwise_conv."),
        (r"(\.memory_fuser\.layers\.\d+\.)norm\.", r"\1layer_norm."),
        (r"(\.memory_fuser\.layers\.\d+\.)pwconv([12])\.", r"\1pointwise_conv\2."),
        (r"(\.memory_fuser\.layers\.\d+\.)gamma$", r"\1scale"),
        (r"^no_mem_embed$", "no_memory_embedding"),
        (r"^no_mem_pos_enc$", "no_memory_positional_encoding"),
        (r"^maskmem_tpos_enc$", "memory_temporal_positional_encoding"),
        (r"^no_obj_ptr$", "no_object_pointer"),
        (r"^no_obj_embed_spatial$", "occlusion_spatial_embedding_parameter"),
        (r"^obj_ptr_proj\.", "object_pointer_proj."),
        (r"^obj_ptr_tpos_proj\.", "temporal_positional_encoding_projection_layer."),
        # Small networks of three layers: first, middle, last.
        (_SMALL + r"\.layers\.0\.", r"\1.proj_in."),
        (_SMALL + r"\.layers\.1\.", r"\1.layers.0."),
        (_SMALL + r"\.layers\.2\.", r"\1.proj_out."),
    )
)
# The four steps of the mask's way down: a convolution, a norm and an activation each, and a convolution at the end.
_DOWN = re.compile(r"^memory_encoder\.mask_downsampler\.encoder\.(\d+)\.")
_STEPS = 4


def is_original(names: Mapping[str, object]) -> bool:
    """Whether the names are those of SAM 2's own repository, not transformers'."""
    return any(name.startswith(("image_encoder.trunk.", "sam_mask_decoder.")) for name in names)


def to_transformers(tensors: Mapping[str, object]) -> dict[str, object]:
    """Return ``tensors``, or shapes, by transformers' names; those that have these already stay as they are.

    The matrix that places prompts is one parameter under two names there; the four kinds of prompt, a parameter each in
    the original, are the rows of one.
    """
    if not is_original(tensors):
        renamed = dict(tensors)
    else:
        renamed = {_renamed(name): tensor for name, tensor in tensors.items()}
        kinds = sorted((name for name in renamed if _KIND.match(name)), key=lambda name: int(name.split(".")[-2]))
        if kinds:
            renamed[_POINTS] = _stacked([renamed.pop(name) for name in kinds])
    if _SHARED in renamed:
        renamed.setdefault(_TIED, renamed[_SHARED])
    return renamed


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return _DOWN.sub(_step, name)


def _step(match: re.Match[str]) -> str:
    step, part = divmod(int(match[1]), 3)
    layer = "final_conv" if step == _STEPS else f"layers.{step}.{('conv', 'layer_norm')[part]}"
    return f"memory_encoder.mask_downsampler.{layer}."


def _stacked(parts: Sequence[object]) -> object:
    """Return tensors, or shapes, one below the other."""
    first = parts[0]
    if isinstance(first, tuple):
        return (sum(cast("tuple[int, ...]", part)[0] for part in parts), *first[1:])
    import torch  # noqa: PLC0415 - shapes are renamed without it

    return torch.cat([cast("Tensor", part) for part in parts])
