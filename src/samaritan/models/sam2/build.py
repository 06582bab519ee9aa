"""transformers' modules of SAM 2 in the sizes that Meta published.

Sources: Ravi et al. 2024 (SAM 2); Ryali et al. 2023 (Hiera).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import (
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2HieraDetModel,
    Sam2Model,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VisionConfig,
)

PATCH = 16  # pixels of the frame that a cell of the embedding stands for
WIDTH = 256  # channels of the embedding


@dataclass(frozen=True, slots=True)
class Size:
    """An encoder: ``width`` and ``heads`` of its first stage, which double at each of the four.

    ``blocks`` counts each stage's blocks; those numbered in ``whole`` look at the whole picture, the others at
    ``windows`` of so many cells, by stage. ``grid`` is the side of the coarse map of places.
    """

    width: int
    heads: int
    blocks: tuple[int, int, int, int]
    whole: tuple[int, ...]
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    grid: int = 7


SIZES = {
    "tiny": Size(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "small": Size(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "base-plus": Size(112, 2, (2, 3, 16, 3), (12, 16, 20), grid=14),
    "large": Size(144, 2, (2, 6, 36, 4), (23, 33, 43), windows=(8, 4, 16, 8)),
}


class _Hiera(Sam2HieraDetModel):  # type: ignore[no-untyped-call]  # transformers' own check of subclasses
    """Hiera whose coarse map of places is spread over the picture by a product of matrices.

    It is what bicubic interpolation comes to, for pictures of the one size that the model is made for. Of an
    interpolation OpenVINO takes minutes to make a constant, each time that it opens an exported graph.
    """

    spread: Tensor

    def __init__(self, config: Sam2HieraDetConfig, cells: int) -> None:
        super().__init__(config)
        own = self.pos_embed.shape[-1]
        spread = functional.interpolate(torch.eye(own)[None, None], size=(cells, own), mode="bicubic")[0, 0]
        self.register_buffer("spread", spread, persistent=False)

    def _get_pos_embed(self, hw: tuple[int, int]) -> Tensor:
        """Return the places (1, rows, columns, channels) of a picture of so many cells."""
        if set(hw) != {len(self.spread)}:
            return super()._get_pos_embed(hw)
        coarse, fine = self.spread @ self.pos_embed @ self.spread.T, self.pos_embed_window
        times = len(self.spread) // fine.shape[-1]
        return (coarse + fine.tile((1, 1, times, times))).permute(0, 2, 3, 1)


def build(size: Size, *, newer: bool, side: int = 1024) -> Sam2VideoModel:
    """Return SAM 2 with an encoder of this size, for frames of ``side`` pixels.

    ``newer`` is SAM 2.1, which tells how old a pointer to the object is and marks memories that show no object. It is
    by the parameters for these two that a file is known to be 2 or 2.1.
    """
    cells = side // PATCH
    config = Sam2VideoConfig(
        vision_config=_vision(size, side),
        prompt_encoder_config={"image_size": side},
        image_size=side,
        memory_attention_rope_feat_sizes=[cells, cells],
        enable_temporal_pos_encoding_for_object_pointers=newer,
        enable_occlusion_spatial_embedding=newer,
    )
    model = Sam2VideoModel(config)
    _use_products(model)
    return model


def build_for_planes(size: Size, *, side: int = 1024) -> Sam2Model:
    """Return SAM 2 without its memory, as transformers has it for pictures; 2 and 2.1 are the same then.

    What is left has the names that it has in ``build``.
    """
    model = Sam2Model(Sam2Config(vision_config=_vision(size, side), prompt_encoder_config={"image_size": side}))
    _use_products(model)
    return model


def _vision(size: Size, side: int) -> Sam2VisionConfig:
    """Return transformers' settings of the encoder."""
    doubled = [size.width * 2**stage for stage in range(4)]
    cells = side // PATCH
    hiera = Sam2HieraDetConfig(
        hidden_size=size.width,
        num_attention_heads=size.heads,
        blocks_per_stage=list(size.blocks),
        embed_dim_per_stage=doubled,
        num_attention_heads_per_stage=[size.heads * 2**stage for stage in range(4)],
        window_size_per_stage=list(size.windows),
        global_attention_blocks=list(size.whole),
        window_positional_embedding_background_size=[size.grid, size.grid],
        image_size=[side, side],
    )
    return Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=doubled[::-1],
        backbone_feature_sizes=[[4 * cells] * 2, [2 * cells] * 2, [cells] * 2],
    )


def _use_products(model: Sam2VideoModel | Sam2Model) -> None:
    """Let the encoder spread its map of places by products; see ``_Hiera``."""
    vision = model.vision_encoder
    rows = vision.config.backbone_feature_sizes[0][0]
    vision.backbone = _Hiera(vision.config.backbone_config, rows)


def shapes(side: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a picture's features in a frame of ``side`` pixels, by name."""
    cells = side // PATCH
    return {
        "embedding": (1, WIDTH, cells, cells),
        "middle": (1, (2 * cells) ** 2, WIDTH // 4),
        "fine": (1, (4 * cells) ** 2, WIDTH // 8),
    }
