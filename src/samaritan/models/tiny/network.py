"""The network of the `tiny` model, in PyTorch: for training and export only.

It is asked anew for every window and every prompt, so what the user said goes in beside the picture and the whole
network works on one question, as in Sofiiuk et al. 2022 (RITM): an **encoder** looks at the window with the prompts in
mind, a **decoder** draws the masks. Both are convolutional (with two attention layers at stride 16) and take any height
and width that are multiples of 32; nothing is tied to one resolution. The installed package never imports this module:
it runs the exported ONNX graph.

* Encoder: EfficientNet-Lite (`backbone`), then a feature pyramid (Lin et al. 2017) down to stride 2. Prompts, and how
  likely they make the greys (`evidence`), are added at strides 2 and 4.
* Decoder: prompts are encoded once more at strides 4, 8 and 16 and added; attention at stride 16 for context,
  convolutions at 8, 4 and 2 for detail.

Batch norms keep training stable (every encoder convolution has one, every path of the decoder); ONNX Runtime merges
them into the convolutions when it loads a graph. The last layer of every residual branch of the decoder begins at 0,
and so does what prompts add to the backbone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from samaritan.core.errors import CheckpointMismatchError
from samaritan.models.anatomy import Anatomy
from samaritan.models.tiny.backbone import Backbone, ConvNorm, channels_of, entry_channels_of
from samaritan.models.tiny.evidence import Appearance, Likeness
from samaritan.models.tiny.prompt_maps import (
    BOX,
    ELLIPSE,
    HAS_BOX,
    HAS_PREVIOUS,
    NEAR_NEGATIVE,
    NEAR_POSITIVE,
    NEGATIVE,
    POSITIVE,
    PREVIOUS,
    PREVIOUS_QUARTERS,
)

PROMPT_CHANNELS = PREVIOUS_QUARTERS.start  # that layers see; the quarters are for `Decoder._say` alone

MASKS = 3
NETWORK_FILE = "network.safetensors"  # of a weights folder, beside the ONNX graphs
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)

# What prompts say by themselves, as logits, to begin training with: the ellipse in a box, and no leaning; nearness to
# marks; what the previous mask showed.
_PRIOR = (4.0, 0.0, 4.0, 4.0)

_KINDS, _MARKED = 6, 4  # kinds of places that prompts cover; the first of them are inside a prompt

_DROPPED = 0.2  # of the channels of an embedding, while training: no answer may hang on a few learnt features

_WIDTHS = {16: 128, 8: 64, 4: 48}  # channels of the embedding by stride
_HINT_WIDTHS = {16: 128, 8: 64, 4: 32}  # channels of encoded prompts by stride


@dataclass(frozen=True, slots=True)
class Design:
    """What designs of the network may differ in, to compare them; the default is what training takes.

    Parameters
    ----------
    attention
        Attention layers at stride 16; with 0 there are two blocks of dilated convolutions in their place.
    blocks8, blocks4
        Residual blocks at strides 8 and 4.
    detail
        Channels at stride 2.
    early
        Whether prompts enter the backbone, and not the decoder alone.
    likeness
        Whether the decoder is shown where the image looks like what is under the prompts, in learnt features.
    appearance
        Whether the network is shown how likely the greys are under the prompts.
    width
        Times the usual channels of everything but the backbone.
    encoder
        Size of the backbone, one of ``backbone.SIZES``.
    """

    attention: int = 2
    blocks8: int = 2
    blocks4: int = 2
    detail: int = 8
    early: bool = True
    likeness: bool = True
    appearance: bool = True
    width: int = 1
    encoder: str = "lite0"

    @property
    def widths(self) -> dict[int, int]:
        """Channels of the embedding by stride."""
        return {stride: self.width * channels for stride, channels in {**_WIDTHS, 2: self.detail}.items()}

    @property
    def hint_widths(self) -> dict[int, int]:
        """Channels of encoded prompts by stride."""
        return {stride: self.width * channels for stride, channels in _HINT_WIDTHS.items()}


DESIGN = Design()


ANATOMY = Anatomy(
    encoder=("encoder",),
    prompts=(
        "encoder.entry2",
        "encoder.entry4",
        "decoder.prompt4",
        "decoder.prompt8",
        "decoder.prompt16",
        "appearance",
    ),
    decoder=("decoder",),
    blocks=("encoder.backbone.stages.*.*",),
    apart=("decoder.context.*.query",),
    entry=("encoder.backbone",),
    neck=("encoder.top",),
)


class Embedding(NamedTuple):
    """Features for the decoder, from coarse to fine, of n windows of H x W pixels."""

    s16: Tensor  # (n, 128, H / 16, W / 16)
    s8: Tensor  # (n, 64, H / 8, W / 8)
    s4: Tensor  # (n, 48, H / 4, W / 4)
    s2: Tensor  # (n, 8, H / 2, W / 2)


class Masks(NamedTuple):
    """The decoder's answer. Mask 0 is for unambiguous prompts; for a lone click take the best of the three."""

    logits: Tensor  # (n, MASKS, H / 2, W / 2)
    predicted_iou: Tensor  # (n, MASKS), in [0, 1]


class Said(NamedTuple):
    """What prompts say of n windows of H x W pixels."""

    maps: Tensor  # (n, PROMPT_CHANNELS, H / 4, W / 4) from `prompt_maps.render`
    under: Tensor  # (n, _KINDS, H / 4, W / 4): how much of a place each kind of prompt covers
    evidence: Tensor  # (n, _KINDS, H / 2, W / 2): how likely they make its greys; 0 if they say nothing
    previous: Tensor  # (n, 1, H / 2, W / 2): the earlier mask, in [-1, 1]; 0 without one

    @classmethod
    def nothing(cls, like: Tensor) -> Said:
        """Return that nothing is said, for windows with a map ``like`` this one, (n, ..., H / 4, W / 4)."""
        n, _, rows, columns = like.shape
        return cls(
            like.new_zeros(n, PROMPT_CHANNELS, rows, columns),
            like.new_zeros(n, _KINDS, rows, columns),
            like.new_zeros(n, _KINDS, 2 * rows, 2 * columns),
            like.new_zeros(n, 1, 2 * rows, 2 * columns),
        )


class Encoder(nn.Module):
    """Windows and what is said of them -> embedding."""

    mean: Tensor
    std: Tensor

    def __init__(self, design: Design = DESIGN) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.backbone = Backbone(design.encoder)
        wide, entries = design.widths, entry_channels_of(design.encoder)
        self.entry2 = _Entry(entries[2]) if design.early else None
        self.entry4 = _Entry(entries[4]) if design.early else None
        *finer, coarsest = channels_of(design.encoder)
        self.top = ConvNorm(coarsest, wide[16])
        self.lateral = nn.ModuleList([ConvNorm(c, wide[s]) for c, s in zip(finer, (2, 4, 8, 16), strict=True)])
        self.down = nn.ModuleList([ConvNorm(wide[2 * s], wide[s]) for s in (2, 4, 8)])
        self.smooth = nn.ModuleList([ConvNorm(wide[s], wide[s], 3) for s in (2, 4, 8, 16)])

    def forward(self, image: Tensor, said: Said) -> Embedding:
        """Map RGB windows (n, 3, H, W) with values in [0, 255] to their embedding; H and W are multiples of 32."""
        told: list[Tensor | float] = [0.0, 0.0]
        if self.entry2 is not None and self.entry4 is not None:
            finer = functional.interpolate(said.maps, scale_factor=2.0, mode="bilinear")
            coarser = functional.avg_pool2d(said.evidence, 2)
            told = [self.entry2(finer, said.evidence), self.entry4(said.maps, coarser)]
        s2, s4, s8, s16, s32 = self.backbone((image - self.mean) / self.std, *told)
        above = functional.relu(self.lateral[3](s16) + _double(self.top(s32)))
        outputs = [functional.relu(self.smooth[3](above))]
        for level, features in ((2, s8), (1, s4), (0, s2)):
            above = functional.relu(self.lateral[level](features) + _double(self.down[level](outputs[-1])))
            outputs.append(functional.relu(self.smooth[level](above)))
        s16, s8, s4 = (functional.dropout2d(features, _DROPPED, self.training) for features in outputs[:3])
        return Embedding(s16, s8, s4, outputs[3])


class _Entry(nn.Module):
    """Where prompts enter the backbone; at first they add nothing."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(PROMPT_CHANNELS + _KINDS, outputs, 1)
        self.spread = nn.Conv2d(outputs, outputs, 3, padding=1)
        _silence(self.spread)

    def forward(self, maps: Tensor, evidence: Tensor) -> Tensor:
        """Map prompt maps and evidence (n, ..., h, w) to (n, outputs, h, w)."""
        added: Tensor = self.spread(functional.relu(self.mix(torch.cat([maps, evidence.to(maps.dtype)], dim=1))))
        return added


class Attention(nn.Module):
    """A pre-norm transformer layer on a feature map; at first it changes nothing.

    Keys and values are averaged over 2 x 2 cells to save time.
    """

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm_attention, self.norm_mlp = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        last = nn.Linear(2 * channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.ReLU(), last)
        for branch_end in (self.position, self.out, last):
            _silence(branch_end)

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
        # Written out: PyTorch's fused attention takes a tenth of a training step on a CPU, these few tokens hardly any.
        q, k, v = (t.reshape(t.shape[0], t.shape[1], self.heads, -1).transpose(1, 2) for t in (query, key, value))
        weights = torch.softmax(q @ k.transpose(2, 3) * q.shape[-1] ** -0.5, dim=-1)
        mixed: Tensor = weights @ v
        return mixed.transpose(1, 2).flatten(2)


class Residual(nn.Module):
    """Two 3x3 convolutions, the second dilated to see further, added to the input; at first they add nothing."""

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = ConvNorm(channels, channels, 3, dilation=dilation)
        nn.init.zeros_(self.second.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
        return functional.relu(x + self.second(functional.relu(self.first(x))))


class Decoder(nn.Module):
    """Embedding and what is said -> masks."""

    def __init__(self, design: Design = DESIGN) -> None:
        super().__init__()
        wide, hint = design.widths, design.hint_widths
        self.prompt4 = nn.Conv2d(PROMPT_CHANNELS, hint[4], 3, padding=1)
        self.prompt8 = ConvNorm(hint[4], hint[8], 3, 2)
        self.prompt16 = ConvNorm(hint[8], hint[16], 3, 2)
        self.likeness8 = Likeness(wide[8]) if design.likeness else None
        self.likeness4 = Likeness(wide[4]) if design.likeness else None
        self.seen4, self.seen2 = nn.Conv2d(_KINDS, wide[4], 1), nn.Conv2d(_KINDS, wide[2], 1)
        self.hint16, self.hint8, self.hint4 = (nn.Conv2d(hint[s], wide[s], 1) for s in (16, 8, 4))
        self.context = nn.Sequential(*(Attention(wide[16], heads=4) for _ in range(design.attention)))
        if not design.attention:
            self.context = _blocks(wide[16], 2)
        self.to8, self.to4 = ConvNorm(wide[16], wide[8]), ConvNorm(wide[8], wide[4])
        self.to2 = nn.Conv2d(wide[4], 4 * wide[2], 1)
        self.refine8, self.refine4 = _blocks(wide[8], design.blocks8), _blocks(wide[4], design.blocks4)
        self.refine2 = nn.Conv2d(wide[2], wide[2], 3, padding=1)
        self.mask = nn.Conv2d(wide[2], MASKS, 3, padding=1)
        if self.mask.bias is not None:
            nn.init.constant_(self.mask.bias, -1.0)  # most pixels belong to no object
        self.prior = nn.Parameter(torch.tensor(_PRIOR))
        self.quality = nn.Sequential(nn.Linear(wide[4] + _KINDS + 3, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, embedding: Embedding, said: Said) -> Masks:
        """Draw the masks of n prompted windows."""
        x2, x4, evidence4 = self.features(embedding, said)
        logits = self.mask(x2) + self._say(said.maps, said.previous)
        return Masks(logits, self._predict_iou(torch.cat([x4, evidence4], dim=1), logits))

    def features(self, embedding: Embedding, said: Said) -> tuple[Tensor, Tensor, Tensor]:
        """Return what masks are drawn from, at half the windows' size; the layer before, and evidence, at a quarter."""
        s16, s8, s4, s2 = embedding
        hint4 = functional.relu(self.prompt4(said.maps))
        hint8 = functional.relu(self.prompt8(hint4))
        hint16 = functional.relu(self.prompt16(hint8))
        told8, told4 = self.hint8(hint8), self.hint4(hint4)
        if self.likeness8 is not None and self.likeness4 is not None:
            marked = said.under[:, :_MARKED]
            told8 = told8 + self.likeness8(s8, functional.avg_pool2d(marked, 2))
            told4 = told4 + self.likeness4(s4, marked)
        evidence4 = functional.avg_pool2d(said.evidence, 2)
        told4 = told4 + self.seen4(evidence4)
        x = self.context(functional.relu(s16 + self.hint16(hint16)))
        x = self.refine8(functional.relu(s8 + told8 + _double(self.to8(x))))
        x4 = self.refine4(functional.relu(s4 + told4 + _double(self.to4(x))))
        x = functional.relu(s2 + self.seen2(said.evidence) + functional.pixel_shuffle(self.to2(x4), 2))
        return functional.relu(self.refine2(x)), x4, evidence4

    def _say(self, prompt_maps: Tensor, shown: Tensor) -> Tensor:
        """Logits (n, 1, H / 2, W / 2) of what the prompts say by themselves: the network learns departures from it.

        A tight box's ellipse is right to a Dice of about .8 on any kind of image, what is near a click is more likely
        the object than not, and a previous mask is mostly right: it takes the place of the others.
        """
        ellipse, leaning, near, previous = self.prior
        box = ellipse * prompt_maps[:, ELLIPSE] + leaning * prompt_maps[:, HAS_BOX]
        marks = near * (prompt_maps[:, NEAR_POSITIVE] - prompt_maps[:, NEAR_NEGATIVE])
        said = (box + marks) * (1.0 - prompt_maps[:, HAS_PREVIOUS])
        answer: Tensor = functional.interpolate(said[:, None], scale_factor=2.0, mode="bilinear") + previous * shown
        return answer

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
    """Windows and prompt maps -> masks."""

    def __init__(self, design: Design = DESIGN) -> None:
        super().__init__()
        self.design = design
        self.appearance = Appearance() if design.appearance else None
        self.encoder = Encoder(design)
        self.decoder = Decoder(design)

    def forward(self, image: Tensor, prompt_maps: Tensor) -> Masks:
        """Answer for n windows, each with the prompts of one object.

        Parameters
        ----------
        image
            RGB (n, 3, H, W) with values in [0, 255]; H and W are multiples of 32.
        prompt_maps
            (n, PROMPT_CHANNELS, H / 4, W / 4) from `prompt_maps.render`.
        """
        under = _covers(prompt_maps)
        if self.appearance is None:
            evidence = torch.zeros_like(_double(under))
        else:
            evidence = self.appearance(functional.avg_pool2d(image / 255.0, 2), under)
        previous = functional.pixel_shuffle(prompt_maps[:, PREVIOUS_QUARTERS], 2)
        said = Said(prompt_maps[:, :PROMPT_CHANNELS], under, evidence, previous)
        masks: Masks = self.decoder(self.encoder(image, said), said)
        return masks


def _covers(prompt_maps: Tensor) -> Tensor:
    """Return what prompts cover, (n, _KINDS, h, w): marks, box and previous mask, then what is outside box and mask."""
    inside = prompt_maps[:, (POSITIVE, NEGATIVE, ELLIPSE, PREVIOUS)].clamp(min=0.0)
    outside = prompt_maps[:, (HAS_BOX,)] - prompt_maps[:, (BOX,)]
    denied = (-prompt_maps[:, (PREVIOUS,)]).clamp(min=0.0)
    return torch.cat([inside, outside, denied], dim=1)


def load_network(file: Path, design: Design = DESIGN) -> TinyNetwork:
    """Return the network of a safetensors file, with float32 weights, ready to be trained further.

    Raises
    ------
    CheckpointMismatchError
        If the file holds other tensors than the network.
    """
    network = TinyNetwork(design)
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


def _blocks(channels: int, count: int) -> nn.Sequential:
    """Residual blocks that see 2 and 4 cells far in turn."""
    return nn.Sequential(*(Residual(channels, dilation=(2, 4)[index % 2]) for index in range(count)))


def _silence(layer: nn.Conv2d | nn.Linear) -> None:
    """Make the last layer of a residual branch give 0, so that a block begins as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")
