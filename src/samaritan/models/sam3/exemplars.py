"""Boxes around examples as tokens beside those of words, with transformers' parameters.

transformers' own module asks torchvision for what lies in a box; here that is some lines of PyTorch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.sam3.modeling_sam3 import Sam3GeometryEncoder


class Exemplars(nn.Module):
    """What boxes around examples say of a concept (Carion et al. 2025, SAM 3).

    Takes over the parameters of transformers' ``Sam3GeometryEncoder`` under their names.

    Parameters
    ----------
    encoder
        The module to replace.
    """

    def __init__(self, encoder: Sam3GeometryEncoder) -> None:
        super().__init__()
        self.bins: int = encoder.roi_size
        self.position_encoding = encoder.position_encoding
        self.label_embed, self.cls_embed = encoder.label_embed, encoder.cls_embed
        self.boxes_direct_project = encoder.boxes_direct_project
        self.boxes_pool_project = encoder.boxes_pool_project
        self.boxes_pos_enc_project = encoder.boxes_pos_enc_project
        self.vision_layer_norm = encoder.vision_layer_norm
        self.final_proj, self.prompt_layer_norm = encoder.final_proj, encoder.prompt_layer_norm
        self.layers, self.output_layer_norm = encoder.layers, encoder.output_layer_norm

    def forward(self, cells: Tensor, places: Tensor, boxes: Tensor, signs: Tensor) -> Tensor:
        """Return the tokens (1, n + 1, channels) of n boxes; the last one stands for them all.

        ``cells`` and ``places`` are (1, channels, rows, columns): the picture, and where each cell lies. ``boxes`` are
        (n, 4): centre x and y, width and height, in [0, 1] of the frame; ``signs`` (n,) 1 for examples of the concept
        and 0 for what is not to be taken for it.
        """
        rows, columns = cells.shape[-2:]
        normed = self.vision_layer_norm(cells.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        centre, size = boxes[:, :2], boxes[:, 2:]
        corners = torch.cat([centre - size / 2, centre + size / 2], dim=1) * boxes.new_tensor([columns, rows] * 2)
        x, y = self.position_encoding.encode_1d_positions(*centre.unbind(dim=1))
        tokens = (
            self.label_embed(signs)
            + self.boxes_direct_project(boxes)
            + self.boxes_pool_project(pooled(normed, corners, self.bins)).flatten(1)
            + self.boxes_pos_enc_project(torch.cat([y, x, size.flip(1)], dim=1))
        )
        tokens = self.prompt_layer_norm(self.final_proj(torch.cat([tokens, self.cls_embed.weight])))[None]
        for layer in self.layers:
            tokens = layer(
                prompt_feats=tokens,
                vision_feats=cells.flatten(2).transpose(1, 2),
                vision_pos_encoding=places.flatten(2).transpose(1, 2),
                prompt_mask=None,
            )
        normed_tokens: Tensor = self.output_layer_norm(tokens)
        return normed_tokens


def pooled(cells: Tensor, boxes: Tensor, bins: int) -> Tensor:
    """Return what lies in ``boxes`` (n, 4) of ``cells`` (1, channels, rows, columns): (n, channels, bins, bins).

    Each bin is the mean of as many points along each side as it is cells wide, rounded up. Boxes are left, upper, right
    and lower edges in cells, a cell's value being that at its upper left corner; none counts as narrower than a cell.
    What lies beyond the last cells' far edges is 0.

    Source: He et al. 2017 (RoIAlign), with the conventions of torchvision's first version, as SAM 3 was trained.
    """
    return torch.cat([_in_box(cells, box, bins) for box in boxes.unbind()])


def _in_box(cells: Tensor, box: Tensor, bins: int) -> Tensor:
    start, stop = box[:2], box[2:]
    size = (stop - start).clamp(min=1.0)
    counts = [math.ceil(along / bins) for along in size.tolist()]
    x, y = (
        start[axis] + (torch.arange(bins * count, device=box.device) + 0.5) * size[axis] / (bins * count)
        for axis, count in enumerate(counts)
    )
    rows, columns = cells.shape[-2:]
    grid = torch.stack(torch.meshgrid(2 * x / (columns - 1) - 1, 2 * y / (rows - 1) - 1, indexing="xy"), dim=-1)
    values = functional.grid_sample(cells, grid[None], padding_mode="border", align_corners=True)
    within = (y <= rows)[:, None] & (x <= columns)
    return functional.avg_pool2d(values * within, (counts[1], counts[0]))
