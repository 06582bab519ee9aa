"""transformers' modules of SAM 2 in the sizes that Meta published.

Sources: Ravi et al. 2024 (SAM 2); Ryali et al. 2023 (Hiera).
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VideoModel, Sam2VisionConfig

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


def build(size: Size, *, newer: bool, side: int = 1024) -> Sam2VideoModel:
    """Return SAM 2 with an encoder of this size, for frames of ``side`` pixels.

    ``newer`` is SAM 2.1, which tells how old a pointer to the object is and marks memories that show no object. It is
    by the parameters for these two that a file is known to be 2 or 2.1.
    """
    doubled = [size.width * 2**stage for stage in range(4)]
    cells = side // PATCH
    vision = Sam2VisionConfig(
        backbone_config=Sam2HieraDetConfig(
            hidden_size=size.width,
            num_attention_heads=size.heads,
            blocks_per_stage=list(size.blocks),
            embed_dim_per_stage=doubled,
            num_attention_heads_per_stage=[size.heads * 2**stage for stage in range(4)],
            window_size_per_stage=list(size.windows),
            global_attention_blocks=list(size.whole),
            window_positional_embedding_background_size=[size.grid, size.grid],
            image_size=[side, side],
        ),
        backbone_channel_list=doubled[::-1],
        backbone_feature_sizes=[[4 * cells] * 2, [2 * cells] * 2, [cells] * 2],
    )
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"image_size": side},
        image_size=side,
        memory_attention_rope_feat_sizes=[cells, cells],
        enable_temporal_pos_encoding_for_object_pointers=newer,
        enable_occlusion_spatial_embedding=newer,
    )
    return Sam2VideoModel(config)


def shapes(side: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a picture's features in a frame of ``side`` pixels, by name."""
    cells = side // PATCH
    return {
        "embedding": (1, WIDTH, cells, cells),
        "middle": (1, (2 * cells) ** 2, WIDTH // 4),
        "fine": (1, (4 * cells) ** 2, WIDTH // 8),
    }
