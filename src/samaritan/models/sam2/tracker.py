"""SAM 2 on a run of slices: asked about one, shown a mask of one, or led from one to the next by its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import Sam2VideoModel

from samaritan.models.planar.network import PAD, Features, Floats, Tokens, padded
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.sam2.build import PATCH, shapes
from samaritan.models.sam2.decoder import MOST, Decoded, Maps, Sam2Decoder, Sam2Encoder, settled
from samaritan.models.sam2.memory import MOST_POINTERS, MOST_RECENT, Memory, Recalled, Sam2Memory

Bools = NDArray[np.bool_]

MOST_ASKED = 4  # prompted slices that one slice is seen in the light of: each costs as much time as the slice itself
_ABSENT = -1024.0  # logit where there is no object at all
_DRAWN = 10.0  # logit of a mask that a person drew
_NOTHING = Tokens(np.zeros((2, 2), np.float32), np.full(2, PAD, np.int64))


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """What a slice shows: ``logits`` (rows, columns) over the frame, predicted ``iou``, and what to remember of it."""

    logits: Floats
    iou: float
    memory: Memory


@dataclass(frozen=True, eq=False, slots=True)
class Bank:
    """The memories of one way through a volume of ``slices``, by slice; ``step`` is 1 upwards and -1 downwards.

    ``asked`` may grow on the way, where a slice is corrected.
    """

    asked: dict[int, Memory]
    slices: int
    step: int
    followed: dict[int, Memory] = field(default_factory=dict)

    def recall(self, index: int) -> Recalled:
        """Return the memories to see slice ``index`` in the light of."""
        nearest = self._nearest(index)
        # A prompted slice that is not among the nearest still counts as one of the last.
        others = {at: memory for at, memory in self.asked.items() if at not in nearest} | self.followed
        before = {age: others.get(index - age * self.step) for age in range(1, MOST_POINTERS)}
        recent = [(age, memory) for age, memory in before.items() if memory is not None]
        behind = [((index - at) * self.step, memory) for at, memory in nearest.items()]
        pointers = [(age, memory.pointer) for age, memory in behind if age >= 0]
        most = min(self.slices, MOST_POINTERS)
        return Recalled(
            list(nearest.values()),
            [(age, memory) for age, memory in recent if age <= MOST_RECENT],
            pointers + [(age, memory.pointer) for age, memory in recent if age < most],
            most - 1,
        )

    def remember(self, index: int, memory: Memory) -> None:
        """Keep the memory of a slice that was followed, and let go of one that is too old to be recalled."""
        self.followed[index] = memory
        self.followed.pop(index - MOST_POINTERS * self.step, None)

    def _nearest(self, index: int) -> dict[int, Memory]:
        """Return up to ``MOST_ASKED`` prompted slices: the nearest on either side, and then whichever are near."""
        sides = [[at for at in self.asked if at < index], [at for at in self.asked if at >= index]]
        first = [min(side, key=lambda at: abs(at - index)) for side in sides if side]
        rest = sorted((at for at in self.asked if at not in first), key=lambda at: abs(at - index))
        return {at: self.asked[at] for at in [*first, *rest][:MOST_ASKED]}


class Tracker:
    """SAM 2 with its memory, on a device. It may be called by several threads.

    Parameters
    ----------
    model
        Of transformers.
    side
        Of the frame.
    device
        One of ``DEVICES``.
    """

    def __init__(self, model: Sam2VideoModel, *, side: int, device: str = "auto") -> None:
        self.decoder = Sam2Decoder(model, side=side)
        self._network = TorchNetwork(
            Sam2Encoder(model, alone=False),
            self.decoder,
            shapes=shapes(side),
            mask_side=4 * (side // PATCH),
            device=device,
        )
        self.device, self.side = self._network.device, side
        self.memory = Sam2Memory(model, side=side).to(self.device).eval()
        self._nothing = model.no_memory_embedding.detach().reshape(1, -1, 1, 1).to(self.device)

    @property
    def mask_side(self) -> int:
        """Sides of the masks, in pixels."""
        return self._network.spec.mask_side

    def encode(self, picture: Floats) -> Features:
        """Encode a frame's picture, (1, 3, side, side); the features do not say yet what is remembered."""
        return self._network.encode(picture)

    def to_arrays(self, features: Features) -> dict[str, NDArray[Any]]:
        """Return the features as arrays, to be kept."""
        return self._network.to_arrays(features)

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Features:
        """Return the features that ``to_arrays`` took apart, of float32; see ``Network.from_arrays``."""
        return self._network.from_arrays(arrays)

    @torch.inference_mode()
    def ask(self, features: Features, tokens: Tokens, *, sure: bool = True) -> Seen:
        """Return what a slice shows of what ``tokens`` ask for, by itself.

        ``sure`` takes their word that the object is there, whatever the network makes of it.
        """
        embedding, *finer = self._maps(features)
        maps = (embedding + self._nothing, *finer)
        return self._seen(embedding, self._decode(cast("Maps", maps), tokens), tokens, asked=True, sure=sure)

    @torch.inference_mode()
    def show(self, features: Features, area: Bools) -> Seen:
        """Return what to remember of a slice in which the object is ``area`` (rows, columns) of the frame."""
        mask = torch.tensor(area, dtype=torch.float32, device=self.device)[None, None]
        small = self.memory.shrink(mask)
        embedding, middle, fine = self._maps(features)
        found = self._decode((embedding, middle, fine), _NOTHING, small)
        there = bool(area.any())
        pointer = self.memory.pointer(found.tokens[:, 0], there=there and bool(found.presence > 0))
        drawn = (2 * mask - 1) * _DRAWN
        cells = self.memory.remember(embedding, drawn, asked=True, there=there)
        logits = functional.interpolate(drawn, size=[self.mask_side] * 2, mode="bilinear", antialias=True)
        return Seen(logits[0, 0].cpu().numpy(), 1.0, Memory(cells, pointer))

    @torch.inference_mode()
    def follow(
        self, features: Features, index: int, bank: Bank, tokens: Tokens | None = None, *, sure: bool = False
    ) -> Seen:
        """Return what slice ``index`` shows of the object that ``bank`` remembers; ``tokens`` correct it.

        ``sure`` as in ``ask``.
        """
        embedding, middle, fine = self._maps(features)
        seen = self.memory.condition(embedding, bank.recall(index))
        asked = tokens or _NOTHING
        return self._seen(
            embedding, self._decode((seen, middle, fine), asked), asked, asked=tokens is not None, sure=sure
        )

    def _maps(self, features: Features) -> Maps:
        embedding, middle, fine = (features[name].float() for name in self._network.spec.shapes)
        return embedding, middle, fine

    def _decode(self, maps: Maps, tokens: Tokens, mask: Tensor | None = None) -> Decoded:
        tokens = padded(tokens)
        side, given = self.mask_side, tokens.mask
        if mask is None and given is not None:
            mask = torch.tensor(given, device=self.device).clamp(-MOST, MOST)[None, None]
        return self.decoder.decode(
            maps,
            torch.tensor(tokens.coords, device=self.device)[None],
            torch.tensor(tokens.labels, device=self.device)[None],
            torch.zeros((1, 1, side, side), device=self.device) if mask is None else mask,
            torch.tensor([float(mask is not None)], device=self.device),
        )

    def _seen(self, embedding: Tensor, found: Decoded, tokens: Tokens, *, asked: bool, sure: bool) -> Seen:
        """Choose among the masks and remember the chosen one."""
        # One click, or none: it may be a part or the whole, so the best of three.
        if np.count_nonzero(tokens.labels != PAD) <= 1:
            best = 1 + int(found.iou[0, 1:].argmax())
            logits, iou = found.logits[:, best : best + 1], found.iou[0, best]
        else:
            best = 0  # the token of the first mask is the one that was followed in training, whichever mask is shown
            stable, ious = settled(found.logits, found.iou)
            logits, iou = stable[:, :1], ious[0, 0]
        there = sure or bool(found.presence > 0)
        if not there:
            logits = torch.full_like(logits, _ABSENT)
        whole = functional.interpolate(logits, size=[self.side] * 2, mode="bilinear")
        cells = self.memory.remember(embedding, whole, asked=asked, there=there)
        pointer = self.memory.pointer(found.tokens[:, best], there=there)
        return Seen(logits[0, 0].cpu().numpy(), float(iou), Memory(cells, pointer))
