"""SAM 2's memory: what a slice shows of an object is kept, and the next slices are seen in its light.

A memory is a map of the slice with its mask, and a pointer, a vector that stands for the object. A slice attends to the
maps and pointers of slices that were asked about and of the last few that were followed (Ravi et al. 2024).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from transformers import Sam2VideoModel

from samaritan.models.sam2.build import PATCH, WIDTH

MOST_RECENT = 6  # slices that are remembered beside those that were asked about
MOST_POINTERS = 16
_SCALE, _SHIFT = 20.0, -10.0  # what the encoder of memories takes a mask's probabilities times and plus
_PLACE = 0.1  # weight of a cell's place beside its content


class Memory(NamedTuple):
    """What one slice showed: ``cells`` (1, 64, rows, columns) and ``pointer`` (1, 256)."""

    cells: Tensor
    pointer: Tensor


class Recalled(NamedTuple):
    """Memories to see a slice in the light of.

    ``asked`` slices were prompted; ``recent`` ones were followed so many slices before; ``pointers`` are so many slices
    old, of ``oldest`` at most.
    """

    asked: Sequence[Memory]
    recent: Sequence[tuple[int, Memory]]
    pointers: Sequence[tuple[int, Tensor]]
    oldest: int


class Sam2Memory(nn.Module):
    """The parts of SAM 2 that make memories and use them.

    Parameters
    ----------
    model
        Of transformers.
    side
        Of the frame.
    """

    def __init__(self, model: Sam2VideoModel, *, side: int) -> None:
        super().__init__()
        cells = side // PATCH
        self.attention, self.encoder = model.memory_attention, model.memory_encoder
        self.pointer_proj = model.object_pointer_proj
        self.shrink = model.mask_downsample
        # Absent from SAM 2 before 2.1.
        tells_age = isinstance(model.temporal_positional_encoding_projection_layer, nn.Linear)
        self.age_proj = model.temporal_positional_encoding_projection_layer if tells_age else None
        absent = model.occlusion_spatial_embedding_parameter
        self.register_buffer("absent", None if absent is None else absent.detach()[..., None, None])
        self.register_buffer("no_object", model.no_object_pointer.detach())
        self.register_buffer("ages", model.memory_temporal_positional_encoding.detach().reshape(-1, 1, model.mem_dim))
        sine = model.vision_encoder.neck.position_encoding, self.encoder.position_encoding
        for name, encoding, width in zip(("places", "kept_places"), sine, (WIDTH, model.mem_dim), strict=True):
            self.register_buffer(name, _rows(encoding((1, width, cells, cells), "cpu", torch.float32)))
        # Of this frame: those that the attention itself has are of the frame that the module was made for.
        across = torch.arange(cells)
        y, x = torch.meshgrid(across, across, indexing="ij")
        self.register_buffer("positions", torch.stack([x.flatten(), y.flatten()], dim=-1))

    def condition(self, embedding: Tensor, recalled: Recalled) -> Tensor:
        """Return the embedding (1, 256, rows, columns) of a slice as seen in the light of memories."""
        ages, kept_places = cast("Tensor", self.ages), cast("Tensor", self.kept_places)
        # The oldest of the ages stands for "asked about", however long ago.
        kept = [(memory.cells, ages[-1]) for memory in recalled.asked]
        kept += [(memory.cells, ages[before - 1]) for before, memory in recalled.recent]
        keys = [_rows(cells) for cells, _ in kept]
        places = [kept_places + age for _, age in kept]
        pointers = self._pointers(recalled)
        if pointers is not None:
            keys.append(pointers[0])
            places.append(pointers[1])
        cells = _rows(embedding) + _PLACE * cast("Tensor", self.places)
        rotary = self.attention.rotary_emb(cells, self.positions)
        queries = cells[:, None]
        for layer in self.attention.layers:
            queries = layer(
                queries=queries,
                keys=torch.cat(keys, dim=1)[:, None],
                key_point_embedding=torch.cat(places, dim=1)[:, None],
                rope_position_embeddings=rotary,
                num_k_exclude_rope=0 if pointers is None else pointers[0].shape[1],
            )
        seen: Tensor = self.attention.layer_norm(queries)[:, 0]
        return seen.transpose(1, 2).reshape(embedding.shape)

    def remember(self, embedding: Tensor, logits: Tensor, *, asked: bool, there: bool) -> Tensor:
        """Return the cells of a memory from a slice's embedding and the logits (1, 1, side, side) of its mask.

        Where the slice was ``asked`` about, the mask is taken as people see it: yes or no.
        """
        mask = (logits > 0).to(logits.dtype) if asked else logits.sigmoid()
        cells: Tensor = self.encoder(embedding, mask * _SCALE + _SHIFT)[0]
        absent = cast("Tensor | None", self.absent)
        return cells if there or absent is None else cells + absent

    def pointer(self, token: Tensor, *, there: bool) -> Tensor:
        """Return the pointer that the token (1, 256) of a mask becomes."""
        if not there:
            return cast("Tensor", self.no_object)
        projected: Tensor = self.pointer_proj(token)
        return projected

    def _pointers(self, recalled: Recalled) -> tuple[Tensor, Tensor] | None:
        """Return pointers as keys (1, n, 64), each cut in four, and where they lie in time."""
        if not recalled.pointers:
            return None
        width = cast("Tensor", self.ages).shape[-1]
        vectors = torch.cat([pointer for _, pointer in recalled.pointers])
        parts = vectors.shape[1] // width
        keys = vectors.reshape(1, -1, width)
        if self.age_proj is None:
            return keys, torch.zeros_like(keys)
        before = torch.tensor([age for age, _ in recalled.pointers], device=vectors.device) / recalled.oldest
        aged: Tensor = self.age_proj(_sine(before, vectors.shape[1]))
        return keys, aged.repeat_interleave(parts, dim=0)[None]


def _rows(cells: Tensor) -> Tensor:
    """Return (1, channels, rows, columns) as (1, rows x columns, channels)."""
    return cells.flatten(2).transpose(1, 2)


def _sine(values: Tensor, width: int) -> Tensor:
    """Return sines and cosines (n, width) of ``values`` (n,) at frequencies from 1 down to 1/10000."""
    half = width // 2
    exponent = (torch.arange(half, device=values.device) // 2) * (2 / half)
    angles = values[:, None] * torch.exp(-math.log(10000.0) * exponent)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
