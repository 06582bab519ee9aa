"""The network in PyTorch where the adapter asks the exported graph: in training, and where it was adapted."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[Any]


class TorchGraph:
    """A network that answers as the exported graph does.

    Parameters
    ----------
    network
        A ``TinyNetwork``, adapted or not; on its own device.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network.eval()

    @torch.no_grad()
    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Map ``image`` and ``prompt_maps`` to ``logits`` and ``iou``."""
        device = next(self._network.parameters()).device
        image, maps = (torch.tensor(inputs[name], device=device) for name in ("image", "prompt_maps"))
        masks = self._network(image, maps)
        return {"logits": masks.logits.cpu().numpy(), "iou": masks.predicted_iou.cpu().numpy()}
