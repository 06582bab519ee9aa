"""EfficientNet-Lite, the backbone of the `tiny` model, with prompts let in beside the picture.

Tan and Le 2019; the Lite variants have ReLU6 and no squeeze-excite. In training only: see `network`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional


class Stage(NamedTuple):
    """Blocks of one width; the first of them has the stride."""

    expansion: int
    kernel: int
    stride: int
    channels: int
    blocks: int


_LITE0 = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
_STEM_CHANNELS = 32  # of every size
_TAPPED_STAGES = (0, 1, 2, 4, 6)  # the last stages at strides 2, 4, 8, 16 and 32


def _scaled(width: float, depth: float) -> tuple[Stage, ...]:
    """Return the stages `width` times as wide, in eights, and `depth` times as deep but for the first and the last."""
    last = len(_LITE0) - 1
    return tuple(
        stage._replace(
            channels=8 * int(width * stage.channels / 8 + 0.5),
            blocks=stage.blocks if index in (0, last) else math.ceil(depth * stage.blocks),
        )
        for index, stage in enumerate(_LITE0)
    )


SIZES = {"lite0": _LITE0, "lite2": _scaled(1.1, 1.2)}


def channels_of(size: str) -> tuple[int, ...]:
    """Return the channels of the five feature maps of a backbone."""
    return tuple(SIZES[size][index].channels for index in _TAPPED_STAGES)


def entry_channels_of(size: str) -> dict[int, int]:
    """Return the channels of the places where prompts come in, by stride."""
    return {2: _STEM_CHANNELS, 4: channels_of(size)[1]}


_IMAGENET_EPSILON = 1e-3  # of the batch norms of the TensorFlow original


class ConvNorm(nn.Module):
    """A convolution without bias that keeps the size (but for its stride), and a batch norm."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, dilation: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation=dilation, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=_IMAGENET_EPSILON, momentum=0.03)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, h, w) to (b, outputs, h / stride, w / stride)."""
        y: Tensor = self.norm(self.conv(x))
        return y


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise k x k, project 1x1, with a shortcut where shapes allow (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = ConvNorm(inputs, hidden) if expansion > 1 else None
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride, groups=hidden)
        self.project = ConvNorm(hidden, outputs)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, h, w) to (b, outputs, h / stride, w / stride)."""
        y = x if self.expand is None else functional.relu6(self.expand(x))
        y = functional.relu6(self.depthwise(y))
        projected: Tensor = self.project(y)
        return x + projected if self.shortcut else projected


class Backbone(nn.Module):
    """EfficientNet-Lite of one of `SIZES` up to its last stage; gives the features at strides 2, 4, 8, 16 and 32."""

    def __init__(self, size: str = "lite0") -> None:
        super().__init__()
        self.size = size
        self.stem = ConvNorm(3, _STEM_CHANNELS, 3, 2)
        stages, channels = [], _STEM_CHANNELS
        for expansion, kernel, stride, outputs, blocks in SIZES[size]:
            stage = []
            for index in range(blocks):
                step = stride if index == 0 else 1
                stage.append(InvertedResidual(channels, outputs, expansion=expansion, kernel=kernel, stride=step))
                channels = outputs
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor, told2: Tensor | float = 0.0, told4: Tensor | float = 0.0) -> list[Tensor]:
        """Map normalised images (n, 3, H, W) to their five feature maps, fine to coarse.

        What prompts say is added at strides 2 and 4, with `entry_channels_of` its size channels.
        """
        x = functional.relu6(self.stem(image) + told2)
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index == _TAPPED_STAGES[1]:
                x = x + told4
            if index in _TAPPED_STAGES:
                features.append(x)
        return features
