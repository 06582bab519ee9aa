"""From crops of pictures to what networks of Segment Anything's shape are given, in PyTorch.

The same as ``FrameSpec.picture`` does for whole planes at inference, for batches that lie in their frames already.
"""

from __future__ import annotations

import torch
from torch import Tensor

from samaritan.models.planar import FrameSpec
from samaritan.models.planar.frame import IMAGENET_MEAN, IMAGENET_STD


def scaled(pictures: Tensor, frame: FrameSpec, *, valid: Tensor | None = None) -> Tensor:
    """Return pictures (n, 3, rows, columns) in [0, 255] with values as a network wants them; 0 where not ``valid``.

    ``valid`` is (n, rows, columns), and None where all is.
    """
    ordered = pictures.flip(1) if frame.colours == "bgr" else pictures
    known = torch.ones_like(ordered[:, :1], dtype=torch.bool) if valid is None else valid[:, None].bool()
    match frame.values:
        case "imagenet":
            mean, std = (
                torch.from_numpy(values).to(ordered).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD)
            )
            values = (ordered - mean) / std
        case "signed":
            values = ordered / 127.5 - 1.0
        case _:
            low = ordered.masked_fill(~known, float("inf")).amin(dim=(1, 2, 3), keepdim=True)
            high = ordered.masked_fill(~known, float("-inf")).amax(dim=(1, 2, 3), keepdim=True)
            values = (ordered - low) / (high - low).clamp(min=1e-8)
    return values * known
