"""TinyViT, the image encoder of MobileSAM, LiteMedSAM and Light HQ-SAM, in PyTorch.

It is the smallest network of Wu et al. 2022 (TinyViT, arXiv 2207.10666) as Zhang et al. 2023 (MobileSAM, arXiv
2306.14289) changed it to stand where SAM has its large one: the last stage keeps the grid of the one before it instead
of halving it, and a neck in the place of the classifier turns its features into an embedding of SAM's 256 channels.

* An **entry** of two convolutions brings the picture to the first grid.
* **Stage 0** is convolutional; **stages 1 to 3** attend within square windows. A window sees nothing of the next one:
  a depthwise convolution behind the attention carries features across the borders.
* Between stages, three convolutions widen the features and halve the grid.

The two official models differ in their entry alone. MobileSAM takes pictures of 1024 pixels and its entry halves them
twice; LiteMedSAM takes 256 pixels and its entry looks at each pixel alone. So both have a first grid of 256 x 256
places, and an embedding of 64 x 64.

Parameters have the names of the official checkpoints. Blocks take and return (n, channels, rows, columns); in memory
the channels lie together, so that attention and convolutions can hand over to each other without copies.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from samaritan.core.errors import ImageError

T = TypeVar("T")

EMBEDDING_CHANNELS = 256
_WIDTHS = (64, 128, 160, 320)  # channels of the stages
_BLOCKS = (2, 2, 6, 2)
_WINDOWS = (0, 7, 14, 7)  # places along a window's side; stage 0 has no attention
_STRIDES = (2, 2, 1)  # between the stages
EARLY_CHANNELS = _WIDTHS[2]  # of what stage 1 hands on to stage 2
_HEAD = 32  # channels of an attention head, in all stages
_EXPANSION = 4  # of the channels inside a block
_ENTRY_STRIDES = (4, 1)  # MobileSAM's, LiteMedSAM's
_NECK_EPSILON = 1e-6

# What checkpoints hold beside the encoder: the classifier that TinyViT was first trained with and that MobileSAM never
# calls, and tables that follow from the window's size and from `attention_biases`.
_UNUSED = ("norm_head.", "head.")
_DERIVED = (".attention_bias_idxs", ".ab")


class TinyViT(nn.Module):
    """Pictures (n, 3, side, side) -> embedding (n, 256, side / (4 stride), side / (4 stride)).

    MobileSAM wants RGB less ImageNet's mean, over its deviation; LiteMedSAM wants RGB with the picture's least value at
    0 and its largest at 1. Both want 0 where the picture, once it is so, does not fill the square.

    Parameters
    ----------
    side
        Pixels along a side: a multiple of ``4 * stride``.
    stride
        Pixels along a side per place of the first grid: 4 for MobileSAM, 1 for LiteMedSAM.

    Raises
    ------
    ImageError
        If the side is no such multiple or the stride is neither; in use, if pictures have another shape.

    References
    ----------
    Wu et al. 2022, TinyViT, arXiv 2207.10666. Zhang et al. 2023, MobileSAM, arXiv 2306.14289.
    """

    def __init__(self, side: int = 1024, *, stride: int = 4) -> None:
        super().__init__()
        if stride not in _ENTRY_STRIDES:
            raise ImageError(got=f"a first stride of {stride}", wanted="4 (MobileSAM) or 1 (LiteMedSAM)")
        if side < 1 or side % (4 * stride):
            raise ImageError(got=f"pictures of {side} pixels a side", wanted=f"a multiple of {4 * stride}")
        self.side = side
        self.patch_embed = nn.Sequential(OrderedDict(seq=_entry(stride)))
        self.layers = nn.Sequential(*[_stage(index) for index in range(len(_WIDTHS))])
        self.neck = nn.Sequential(
            nn.Conv2d(_WIDTHS[-1], EMBEDDING_CHANNELS, 1, bias=False),
            _ChannelNorm(EMBEDDING_CHANNELS, eps=_NECK_EPSILON),
            nn.Conv2d(EMBEDDING_CHANNELS, EMBEDDING_CHANNELS, 3, padding=1, bias=False),
            _ChannelNorm(EMBEDDING_CHANNELS, eps=_NECK_EPSILON),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Map (n, 3, side, side) float32 to (n, 256, side / (4 stride), side / (4 stride))."""
        return self.with_early(pictures)[0]

    def with_early(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedding and, on the same grid, what stage 1 hands on to stage 2: (n, 160, rows, columns).

        Details are left in that of which the embedding has lost sight (Ke et al. 2023, Light HQ-SAM).
        """
        if pictures.shape[1:] != (3, self.side, self.side):
            raise ImageError(
                got=f"pictures of shape {tuple(pictures.shape)}", wanted=f"(n, 3, {self.side}, {self.side})"
            )
        first, second, *others = self.layers
        early = second(first(self.patch_embed(pictures.contiguous(memory_format=torch.channels_last))))
        features = early
        for stage in others:
            features = stage(features)
        return self.neck(features), early


def encoder_state(tensors: Mapping[str, T]) -> dict[str, T]:
    """Return what ``TinyViT`` loads strictly, of the tensors that a checkpoint has below ``image_encoder.``.

    Left out are the classifier (``norm_head``, ``head``), which MobileSAM's file has although nothing calls it, and the
    tables ``attention_bias_idxs`` and ``ab``, which copies of the network may have saved although they follow from the
    rest. Whatever else is too much stays, for ``load_state_dict`` to refuse.
    """
    return {
        name: tensor for name, tensor in tensors.items() if not name.startswith(_UNUSED) and not name.endswith(_DERIVED)
    }


def at_rest(encoder: TinyViT) -> TinyViT:
    """Return what says the same in less time, unless something of it learns: then the encoder itself."""
    return encoder if any(parameter.requires_grad for parameter in encoder.parameters()) else fused(encoder)


def fused(encoder: TinyViT) -> TinyViT:
    """Return a copy for inference that says the same with every batch norm folded into its convolution.

    A batch norm scales and shifts each channel by constants once training is over, and so can the convolution before
    it. The copy cannot be trained, and has no longer the parameters of the checkpoints.
    """
    faster = copy.deepcopy(encoder).eval().requires_grad_(requires_grad=False)
    for module in list(faster.modules()):
        for name, child in module.named_children():
            if isinstance(child, _ConvNorm):
                setattr(module, name, fuse_conv_bn_eval(child.c, child.bn))
    return faster


class _ConvNorm(nn.Sequential):
    """A convolution that keeps the size (but for its stride), and a batch norm."""

    c: nn.Conv2d
    bn: nn.BatchNorm2d

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(OrderedDict(c=conv, bn=nn.BatchNorm2d(outputs)))


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each place: (n, channels, rows, columns) in and out."""

    def forward(self, x: Tensor) -> Tensor:
        places = _channels_last(x)
        return _channels_first(functional.layer_norm(places, self.normalized_shape, self.weight, self.bias, self.eps))


class _ConvBlock(nn.Sequential):
    """Widen, look around in each channel, narrow, with a shortcut (an inverted residual; Sandler et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__(_bottleneck(width, _EXPANSION * width, width))

    def forward(self, x: Tensor) -> Tensor:
        change = x
        for layer in self:
            change = layer(change)
        return functional.gelu(x + change)


class _AttentionBlock(nn.Module):
    """Attention within windows, a depthwise convolution across their borders, and a perceptron at each place."""

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.attn = _WindowAttention(width, window)
        self.local_conv = _ConvNorm(width, width, 3, groups=width)
        self.mlp = nn.Sequential(
            OrderedDict(
                norm=nn.LayerNorm(width),
                fc1=nn.Linear(width, _EXPANSION * width),
                act=nn.GELU(),
                fc2=nn.Linear(_EXPANSION * width, width),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        places = _channels_last(x)
        places = places + self.attn(places)
        places = _channels_last(self.local_conv(_channels_first(places)))
        return _channels_first(places + self.mlp(places))


class _WindowAttention(nn.Module):
    """Attention within windows of ``window`` x ``window`` places: (n, rows, columns, width) in and out.

    Each head learns how much a place minds another by how far apart the two are along the rows and the columns.
    """

    attention_bias_idxs: Tensor

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.window, self.heads = window, width // _HEAD
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(self.heads, window**2))
        self.register_buffer("attention_bias_idxs", _apart(window), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[1:3]
        query, key, value = self._windows(self._projected(x))
        bias = self.attention_biases[:, self.attention_bias_idxs][None]
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        down, across = -(-rows // self.window), -(-columns // self.window)
        seen = seen.reshape(-1, down, across, self.heads, self.window, self.window, _HEAD).permute(0, 1, 4, 2, 5, 3, 6)
        seen = seen.reshape(-1, down * self.window, across * self.window, self.heads * _HEAD)
        mixed: Tensor = self.proj(seen[:, :rows, :columns])
        return mixed

    def _projected(self, x: Tensor) -> Tensor:
        """Return the queries, keys and values of all places, (n, rows, columns, 3 width), in whole windows.

        Where a window reaches beyond the grid, the weights were trained with places that are zeros before the norm, and
        that the others attend to. What comes of zeros are the biases; so those are added last, and nothing is
        multiplied for places that are not there.
        """
        below, right = (-size % self.window for size in x.shape[1:3])
        normed = functional.layer_norm(x, self.norm.normalized_shape, self.norm.weight, eps=self.norm.eps)
        projected = functional.linear(normed, self.qkv.weight)
        whole: Tensor = functional.pad(projected, (0, 0, 0, right, 0, below)) + self.qkv(self.norm.bias)
        return whole

    def _windows(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cut (n, rows, columns, 3 width) into queries, keys and values (windows, heads, places, _HEAD)."""
        n, rows, columns, _ = projected.shape
        side = self.window
        cut = projected.reshape(n, rows // side, side, columns // side, side, self.heads, 3, _HEAD)
        query, key, value = cut.permute(6, 0, 1, 3, 5, 2, 4, 7).reshape(3, -1, self.heads, side**2, _HEAD).unbind(0)
        return query, key, value


def _entry(stride: int) -> nn.Sequential:
    kernel, each = (3, 2) if stride > 1 else (1, 1)
    half = _WIDTHS[0] // 2
    return nn.Sequential(
        _ConvNorm(3, half, kernel, stride=each), nn.GELU(), _ConvNorm(half, _WIDTHS[0], kernel, stride=each)
    )


def _stage(index: int) -> nn.Sequential:
    """Return a stage's blocks and, but for the last stage, the step to the next one."""
    width, window = _WIDTHS[index], _WINDOWS[index]
    blocks = [_AttentionBlock(width, window) if window else _ConvBlock(width) for _ in range(_BLOCKS[index])]
    parts: OrderedDict[str, nn.Module] = OrderedDict(blocks=nn.Sequential(*blocks))
    if index < len(_STRIDES):
        wider = _WIDTHS[index + 1]
        parts["downsample"] = nn.Sequential(_bottleneck(width, wider, wider, stride=_STRIDES[index]))
    return nn.Sequential(parts)


def _bottleneck(inputs: int, hidden: int, outputs: int, *, stride: int = 1) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        conv1=_ConvNorm(inputs, hidden),
        act1=nn.GELU(),
        conv2=_ConvNorm(hidden, hidden, 3, stride=stride, groups=hidden),
        act2=nn.GELU(),
        conv3=_ConvNorm(hidden, outputs),
    )


def _apart(window: int) -> Tensor:
    """Return, for every two places of a window, which bias is theirs: (window^2, window^2) int64.

    It is the number of rows between them times ``window``, and the number of columns.
    """
    at = torch.arange(window)
    steps = (at[:, None] - at).abs()
    return (steps[:, None, :, None] * window + steps[None, :, None, :]).reshape(window**2, window**2)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)
