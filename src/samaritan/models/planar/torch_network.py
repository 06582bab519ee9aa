"""Networks of Segment Anything's shape in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samaritan.core.errors import ResourceError
from samaritan.models.device import require_device
from samaritan.models.planar.network import Features, Floats, Tokens, require_features


def torch_device(device: str) -> torch.device:
    """Return PyTorch's device for one of ``DEVICES``; "auto" is CUDA or MPS where there is one, else the CPU.

    Raises
    ------
    UnknownNameError
        If there is no such name.
    ResourceError
        If this machine or this PyTorch lacks the device.
    """
    require_device(device)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if there[name]))
    if not there[device]:
        raise ResourceError(
            got=f"device '{device}', which PyTorch {torch.__version__} does not see here",
            wanted=f"one of: {', '.join(name for name, found in there.items() if found)}",
            fix="Use device 'cpu', or install the PyTorch build for your device (pytorch.org/get-started)",
        )
    return torch.device(device)


class TorchNetwork:
    """An encoder and a decoder as PyTorch modules.

    Parameters
    ----------
    encoder
        Maps a picture (1, 3, side, side) to a tuple of features (1, ...).
    decoder
        Maps the features, ``coords`` (p, n, 2), ``labels`` (p, n), ``mask`` (p, 1, mask_side, mask_side) and
        ``has_mask`` (p,) in {0, 1} to logits (p, m, rows, columns) and predicted IoU (p, m), for p prompts at once.
    shapes
        Of the features, by name, in the encoder's order.
    mask_side
        See ``Network``.
    device
        One of ``DEVICES``.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        shapes: Mapping[str, tuple[int, ...]],
        mask_side: int,
        device: str = "auto",
    ) -> None:
        self.device = torch_device(device)
        self.encoder, self.decoder = encoder.to(self.device).eval(), decoder.to(self.device).eval()
        self.shapes, self._mask_side = dict(shapes), mask_side

    @property
    def mask_side(self) -> int:
        """Sides of the mask that the decoder takes and gives."""
        return self._mask_side

    @torch.inference_mode()
    def encode(self, picture: Floats) -> Features:
        """Encode a frame's picture; on a GPU in bfloat16 where it has that."""
        half = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            features = self.encoder(torch.from_numpy(picture).to(self.device))
        return dict(zip(self.shapes, (feature.float() for feature in features), strict=True))

    @torch.inference_mode()
    def decode(self, features: Features, tokens: Tokens) -> tuple[Floats, Floats]:
        """Return logits (m, rows, columns) and predicted IoU (m,); see ``Network.decode``."""
        mask = np.zeros((self._mask_side, self._mask_side), np.float32) if tokens.mask is None else tokens.mask
        logits, iou = self.decoder(
            *(cast("Tensor", features[name]) for name in self.shapes),
            self._tensor(tokens.coords)[None],
            self._tensor(tokens.labels)[None],
            self._tensor(mask)[None, None],
            torch.tensor([float(tokens.mask is not None)], device=self.device),
        )
        return logits[0].float().cpu().numpy(), iou[0].float().cpu().numpy()

    def to_arrays(self, features: Features) -> dict[str, NDArray[Any]]:
        """Return the features as arrays."""
        return {name: features[name].cpu().numpy() for name in self.shapes}

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Features:
        """Return the features that ``to_arrays`` took apart.

        Raises
        ------
        CorruptFileError
            If these are not the features of this network.
        """
        require_features(arrays, self.shapes)
        return {name: self._tensor(arrays[name]) for name in self.shapes}

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.tensor(array, device=self.device)  # a copy: arrays from the cache are not to be written to
