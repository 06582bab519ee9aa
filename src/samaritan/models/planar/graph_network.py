"""Networks of Segment Anything's shape as two ONNX graphs, run without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.models.planar.network import Features, Floats, Tokens, require_features
from samaritan.models.runtimes import Graph


class GraphNetwork:
    """An encoder and a decoder as graphs; the decoder's inputs and outputs are those of ``TorchNetwork``'s, by name.

    Parameters
    ----------
    encoder
        Maps ``picture`` to the features.
    decoder
        Maps the features, ``coords``, ``labels``, ``mask`` and ``has_mask`` to ``logits`` and ``iou``.
    shapes
        Of the features, by name.
    mask_side
        See ``Network``.
    """

    def __init__(
        self, encoder: Graph, decoder: Graph, *, shapes: Mapping[str, tuple[int, ...]], mask_side: int
    ) -> None:
        self._encoder, self._decoder = encoder, decoder
        self._shapes, self._mask_side = dict(shapes), mask_side

    @property
    def mask_side(self) -> int:
        """Sides of the mask that the decoder takes and gives."""
        return self._mask_side

    def encode(self, picture: Floats) -> Features:
        """Encode a frame's picture."""
        return self._encoder.run({"picture": picture})

    def decode(self, features: Features, tokens: Tokens) -> tuple[Floats, Floats]:
        """Return logits (m, rows, columns) and predicted IoU (m,); see ``Network.decode``."""
        mask = np.zeros((self._mask_side, self._mask_side), np.float32) if tokens.mask is None else tokens.mask
        found = self._decoder.run(
            {
                **{name: features[name] for name in self._shapes},
                "coords": tokens.coords[None],
                "labels": tokens.labels[None],
                "mask": mask[None, None],
                "has_mask": np.array([tokens.mask is not None], np.float32),
            }
        )
        return found["logits"][0], found["iou"][0]

    def to_arrays(self, features: Features) -> dict[str, NDArray[Any]]:
        """Return the features, which are arrays."""
        return {name: features[name] for name in self._shapes}

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Features:
        """Return the features that ``to_arrays`` gave.

        Raises
        ------
        CorruptFileError
            If these are not the features of this network.
        """
        require_features(arrays, self._shapes)
        return dict(arrays)
