"""SAM-Med3D's network in PyTorch, on a device."""

from __future__ import annotations

import torch
from torch import Tensor

from samaritan.models.planar.torch_network import MixedPrecision, torch_device
from samaritan.models.sam_med3d.lattice import Floats, Ints
from samaritan.models.sam_med3d.network import SamMed3D


class TorchNetwork:
    """A ``search.Network`` made of the module.

    Parameters
    ----------
    module
        With its weights.
    device
        One of ``DEVICES``.
    """

    def __init__(self, module: SamMed3D, device: str = "auto") -> None:
        self.device = torch_device(device)
        self.module = module.to(self.device).eval()
        self._mixed = MixedPrecision(lambda windows: (module.encode(windows),))

    @property
    def side(self) -> int:
        """Cubes along each side of a window."""
        return self.module.size.side

    @torch.inference_mode()
    def encode(self, window: Floats) -> Tensor:
        """Return the features (1, channels, side / 16, ...); on a GPU in half precision."""
        given = torch.from_numpy(window).to(self.device)[None, None]
        return self._mixed(given)[0]

    @torch.inference_mode()
    def decode(self, features: Tensor, places: Floats, labels: Ints, mask: Floats) -> Floats:
        """Return the logits of cells (side / 4, ...); see ``search.Network``."""
        logits, _ = self.module.decode(
            features,
            torch.from_numpy(places).to(self.device)[None],
            torch.from_numpy(labels).to(self.device)[None],
            torch.from_numpy(mask).to(self.device)[None, None],
        )
        found: Floats = logits[0, 0].float().cpu().numpy()
        return found
