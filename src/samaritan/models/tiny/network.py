"""The network of the `tiny` model, in PyTorch: for training and export only.

The shape is Segment Anything's: an **encoder** turns an image into an embedding once, a **decoder** turns the embedding
and one object's prompts into masks, as often as the user clicks. Both are convolutional (with two attention layers at
stride 16) and take any height and width that are multiples of 32; nothing is tied to one resolution. The installed
package never imports this module: it runs the exported ONNX graphs.

* Encoder: EfficientNet-Lite0 without classifier (Tan and Le 2019; the Lite variant has ReLU6 and no squeeze-excite),
  then a feature pyramid (Lin et al. 2017) down to stride 2.
* Decoder: the maps of `prompt_maps` are encoded at strides 4, 8 and 16 and *added* to the embedding, so that one
  embedding broadcasts over a batch of prompts; attention at stride 16 for context, convolutions at 8, 4 and 2 for
  detail.

Batch norms keep training stable (every encoder convolution has one, every path of the decoder); `folded` merges them
into the convolutions for inference.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from samaritan.core.errors import CheckpointMismatchError
from samaritan.models.tiny.prompt_maps import CHANNELS as PROMPT_CHANNELS
from samaritan.models.tiny.prompt_maps import ELLIPSE, HAS_BOX, HAS_PREVIOUS

MASKS = 3
NETWORK_FILE = "network.safetensors"  # of a weights folder, beside the ONNX graphs
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

# (expansion, kernel, stride, channels, blocks) of the seven stages of EfficientNet-Lite0
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_STEM_CHANNELS = 32
_TAPPED_STAGES = (0, 1, 2, 4, 6)  # the last stages at strides 2, 4, 8, 16 and 32

# What a box alone says, as logits, to begin training with: the inscribed ellipse, and no leaning.
_BOX_PRIOR = (4.0, 0.0)

_IMAGENET_EPSILON = 1e-3  # of the batch norms of the TensorFlow original
_WIDTHS = {16: 128, 8: 64, 4: 48, 2: 8}  # channels of the embedding by stride


class Embedding(NamedTuple):
    """An image's features for the decoder, from coarse to fine, for an input of H x W pixels."""

    s16: Tensor  # (b, 128, H / 16, W / 16)
    s8: Tensor  # (b, 64, H / 8, W / 8)
    s4: Tensor  # (b, 48, H / 4, W / 4)
    s2: Tensor  # (b, 8, H / 2, W / 2)


class Masks(NamedTuple):
    """The decoder's answer. Mask 0 is for unambiguous prompts; for a lone click take the best of the three."""

    logits: Tensor  # (n, MASKS, H / 2, W / 2)
    predicted_iou: Tensor  # (n, MASKS), in [0, 1]


class ConvNorm(nn.Module):
    """A convolution without bias that keeps the size (but for its stride), and a batch norm."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, dilation: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation=dilation, groups=groups, bias=False)
        self.norm: nn.BatchNorm2d | None = nn.BatchNorm2d(outputs, eps=_IMAGENET_EPSILON, momentum=0.03)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, inputs, h, w) to (b, outputs, h / stride, w / stride)."""
        y: Tensor = self.conv(x)
        return y if self.norm is None else self.norm(y)

    def fold(self) -> None:
        """Merge the batch norm, as it is at inference, into the convolution."""
        if self.norm is not None:
            self.conv, self.norm = fuse_conv_bn_eval(self.conv, self.norm), None


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
    """EfficientNet-Lite0 up to its last stage; gives the features at strides 2, 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, _STEM_CHANNELS, 3, 2)
        stages, channels = [], _STEM_CHANNELS
        for expansion, kernel, stride, outputs, blocks in _STAGES:
            stage = []
            for index in range(blocks):
                step = stride if index == 0 else 1
                stage.append(InvertedResidual(channels, outputs, expansion=expansion, kernel=kernel, stride=step))
                channels = outputs
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map a normalised image (b, 3, H, W) to its five feature maps, fine to coarse."""
        x = functional.relu6(self.stem(image))
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _TAPPED_STAGES:
                features.append(x)
        return features


class Encoder(nn.Module):
    """Image -> embedding."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.backbone = Backbone()
        channels = [_STAGES[index][3] for index in _TAPPED_STAGES]  # at strides 2, 4, 8, 16, 32
        wide = _WIDTHS
        self.top = ConvNorm(channels[4], wide[16])
        self.lateral = nn.ModuleList([ConvNorm(c, wide[s]) for c, s in zip(channels, (2, 4, 8, 16), strict=False)])
        self.down = nn.ModuleList([ConvNorm(wide[2 * s], wide[s]) for s in (2, 4, 8)])
        self.smooth = nn.ModuleList([ConvNorm(wide[s], wide[s], 3) for s in (2, 4, 8, 16)])

    def forward(self, image: Tensor) -> Embedding:
        """Map RGB images (b, 3, H, W) with values in [0, 255] to their embeddings; H and W are multiples of 32."""
        s2, s4, s8, s16, s32 = self.backbone((image - self.mean) / self.std)
        above = functional.relu(self.lateral[3](s16) + _double(self.top(s32)))
        outputs = [functional.relu(self.smooth[3](above))]
        for level, features in ((2, s8), (1, s4), (0, s2)):
            above = functional.relu(self.lateral[level](features) + _double(self.down[level](outputs[-1])))
            outputs.append(functional.relu(self.smooth[level](above)))
        return Embedding(*outputs)


class Attention(nn.Module):
    """A pre-norm transformer layer on a feature map; keys and values are averaged over 2 x 2 cells to save time."""

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm_attention, self.norm_mlp = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.ReLU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape; h and w are even."""
        x = x + self.position(x)
        n, c, h, w = x.shape
        tokens: Tensor = x.flatten(2).transpose(1, 2)
        normed = self.norm_attention(tokens)
        pooled = functional.avg_pool2d(normed.transpose(1, 2).reshape(n, c, h, w), 2).flatten(2).transpose(1, 2)
        key, value = self.key_value(pooled).chunk(2, dim=-1)
        tokens = tokens + self.out(self._attend(self.query(normed), key, value))
        tokens = tokens + self.mlp(self.norm_mlp(tokens))
        return tokens.transpose(1, 2).reshape(n, c, h, w)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (t.reshape(t.shape[0], t.shape[1], self.heads, -1).transpose(1, 2) for t in (query, key, value))
        mixed: Tensor = functional.scaled_dot_product_attention(q, k, v)
        return mixed.transpose(1, 2).flatten(2)


class Residual(nn.Module):
    """Two 3x3 convolutions, the second dilated to see further, added to the input."""

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = ConvNorm(channels, channels, 3, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
        return functional.relu(x + self.second(functional.relu(self.first(x))))


class Decoder(nn.Module):
    """Embedding and prompt maps -> masks."""

    def __init__(self) -> None:
        super().__init__()
        wide = _WIDTHS
        hint = {16: 128, 8: 64, 4: 32}
        self.prompt4 = nn.Conv2d(PROMPT_CHANNELS, hint[4], 3, padding=1)
        self.prompt8 = ConvNorm(hint[4], hint[8], 3, 2)
        self.prompt16 = ConvNorm(hint[8], hint[16], 3, 2)
        self.hint16, self.hint8, self.hint4 = (nn.Conv2d(hint[s], wide[s], 1) for s in (16, 8, 4))
        self.context = nn.Sequential(Attention(wide[16], heads=4), Attention(wide[16], heads=4))
        self.to8, self.to4 = ConvNorm(wide[16], wide[8]), ConvNorm(wide[8], wide[4])
        self.to2 = nn.Conv2d(wide[4], 4 * wide[2], 1)
        self.refine8 = Residual(wide[8], dilation=2)
        self.refine4 = nn.Sequential(Residual(wide[4], dilation=2), Residual(wide[4], dilation=4))
        self.refine2 = nn.Conv2d(wide[2], wide[2], 3, padding=1)
        self.mask = nn.Conv2d(wide[2], MASKS, 3, padding=1)
        if self.mask.bias is not None:
            nn.init.constant_(self.mask.bias, -1.0)  # most pixels belong to no object
        self.box_prior = nn.Parameter(torch.tensor(_BOX_PRIOR))
        self.quality = nn.Sequential(nn.Linear(wide[4] + 3, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, embedding: Embedding, prompt_maps: Tensor) -> Masks:
        """Predict masks for n prompts.

        Parameters
        ----------
        embedding
            Of one image (b = 1), which serves all prompts, or of n images, one a prompt.
        prompt_maps
            (n, PROMPT_CHANNELS, H / 4, W / 4) from `prompt_maps.render`.
        """
        s16, s8, s4, s2 = embedding
        hint4 = functional.relu(self.prompt4(prompt_maps))
        hint8 = functional.relu(self.prompt8(hint4))
        x = self.context(functional.relu(s16 + self.hint16(functional.relu(self.prompt16(hint8)))))
        x = self.refine8(functional.relu(s8 + self.hint8(hint8) + _double(self.to8(x))))
        x4 = self.refine4(functional.relu(s4 + self.hint4(hint4) + _double(self.to4(x))))
        x = functional.relu(s2 + functional.pixel_shuffle(self.to2(x4), 2))
        logits = self.mask(functional.relu(self.refine2(x))) + self._prior(prompt_maps)
        return Masks(logits, self._predict_iou(x4, logits))

    def _prior(self, prompt_maps: Tensor) -> Tensor:
        """Logits (n, 1, H / 2, W / 2) of what a box alone says; 0 without one, or once there is a previous mask.

        A tight box's ellipse is right to a Dice of about .8 on any kind of image: the network need only learn where an
        image departs from it.
        """
        ellipse, leaning = self.box_prior
        prior = ellipse * prompt_maps[:, ELLIPSE, None] + leaning * prompt_maps[:, HAS_BOX, None]
        first = 1.0 - prompt_maps[:, HAS_PREVIOUS, None]
        return functional.interpolate(prior * first, scale_factor=2.0, mode="bilinear")

    def _predict_iou(self, features: Tensor, logits: Tensor) -> Tensor:
        """Judge each mask by the features under it, its sureness and its size; no gradient flows into the mask."""
        features = features.detach().flatten(2)  # (n, c, cells)
        inside = functional.avg_pool2d(torch.sigmoid(logits.detach()), 2).flatten(2)  # (n, MASKS, cells)
        area = inside.sum(dim=2, keepdim=True) + 1.0
        under = inside @ features.transpose(1, 2) / area
        sure = (inside * inside).sum(dim=2, keepdim=True) / area
        unsure = (inside * (1.0 - inside)).sum(dim=2, keepdim=True) / torch.sqrt(area)
        judged = torch.cat([under, sure, unsure, torch.log(area) / 8.0], dim=2)
        return torch.sigmoid(self.quality(judged)).squeeze(2)


class TinyNetwork(nn.Module):
    """Encoder and decoder together, as they are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()


def folded(network: TinyNetwork) -> TinyNetwork:
    """Return an inference copy whose batch norms are merged into the convolutions before them: the same function."""
    copy = deepcopy(network).eval()
    for module in copy.modules():
        if isinstance(module, ConvNorm):
            module.fold()
    return copy


def load_network(file: Path) -> TinyNetwork:
    """Return the network of a safetensors file, with float32 weights, ready to be trained further.

    Raises
    ------
    CheckpointMismatchError
        If the file holds other tensors than the network.
    """
    network = TinyNetwork()
    stored = load_file(file)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    if found != wanted:
        different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise CheckpointMismatchError(
            got=f"{file} with {len(different)} tensors that differ, {different[0]} first: {found.get(different[0])}",
            wanted=f"{wanted.get(different[0])}",
            fix="Take the weights and the code from the same version",
        )
    network.load_state_dict(stored)
    return network


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
