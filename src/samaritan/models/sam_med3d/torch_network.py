"""SAM-Med3D's network in PyTorch, on a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from samaritan.models.growing import Features
from samaritan.models.planar.network import require_features
from samaritan.models.planar.torch_network import MixedPrecision, torch_device
from samaritan.models.sam_med3d.encoder import PATCH
from samaritan.models.sam_med3d.lattice import Floats, Ints
from samaritan.models.sam_med3d.network import SamMed3D

_WINDOW = "window"  # name of its features


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
    def encode(self, part: Floats) -> Features:
        """Return the features (1, channels, side / 16, ...) of a window; on a GPU in half precision."""
        given = torch.from_numpy(part).to(self.device)[None, None]
        return {_WINDOW: self._mixed(given)[0]}

    def to_arrays(self, features: Features) -> dict[str, NDArray[Any]]:
        """Return the features as an array, to be kept."""
        return {_WINDOW: features[_WINDOW].cpu().numpy()}

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Features:
        """Return the features that ``to_arrays`` took apart; see ``PartEncoder``."""
        size = self.module.size
        require_features(arrays, {_WINDOW: (1, size.channels, *[size.side // PATCH] * 3)})
        return {_WINDOW: torch.tensor(arrays[_WINDOW], device=self.device)}  # a copy: the cache's is not written to

    @torch.inference_mode()
    def decode(self, features: Features, places: Floats, labels: Ints, mask: Floats) -> Floats:
        """Return the logits of cells (side / 4, ...); see ``search.Network``."""
        logits, _ = self.module.decode(
            features[_WINDOW],
            torch.from_numpy(places).to(self.device)[None],
            torch.from_numpy(labels).to(self.device)[None],
            torch.from_numpy(mask).to(self.device)[None, None],
        )
        found: Floats = logits[0, 0].float().cpu().numpy()
        return found
