"""Networks of Segment Anything's shape as two ONNX graphs, run without PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from samaritan.models.planar.network import MOST_BYTES, DecoderSpec, Features, Floats, Tokens, require_features
from samaritan.models.runtimes import Graph, Runner


class GraphNetwork:
    """An encoder and a decoder as graphs; the decoder's inputs and outputs are those of ``TorchNetwork``'s, by name.

    Parameters
    ----------
    encoder
        Maps ``picture`` to the features.
    decoder
        Maps the features, ``coords``, ``labels``, ``mask`` and ``has_mask`` to ``logits`` and ``iou``.
    spec
        See ``Network``.
    """

    def __init__(self, encoder: Graph, decoder: Graph, spec: DecoderSpec) -> None:
        self._encoder, self._decoder, self._spec = encoder, decoder, spec

    @property
    def spec(self) -> DecoderSpec:
        """What the decoder is given."""
        return self._spec

    @property
    def runners(self) -> dict[str, Runner]:
        """What runs each graph."""
        return {"encoder": self._encoder.runner, "decoder": self._decoder.runner}

    @property
    def most_pictures(self) -> int:
        """One: the graph is written for one, for which runtimes then plan their memory."""
        return 1

    @property
    def most_objects(self) -> int:
        """Objects that are decoded at once: two with masks of 256 pixels."""
        return self.spec.objects_in(MOST_BYTES)

    def encode(self, picture: Floats) -> Features:
        """Encode a frame's picture."""
        return self._encoder.run({"picture": picture})

    def encode_all(self, pictures: Iterable[Floats]) -> Iterator[Features]:
        """Encode many, one by one; see ``most_pictures``."""
        return map(self.encode, pictures)

    def decode(self, features: Features, tokens: Tokens) -> tuple[Floats, Floats]:
        """Return logits (m, rows, columns) and predicted IoU (m,); see ``Network.decode``."""
        logits, iou = self.decode_batch(features, [tokens])
        return logits[0], iou[0]

    def decode_batch(self, features: Features, asked: Sequence[Tokens]) -> tuple[Floats, Floats]:
        """Return logits (p, m, rows, columns) and predicted IoU (p, m); see ``Network.decode_batch``."""
        known = {name: features[name] for name in self.spec.shapes}
        found = self._decoder.run(known | self.spec.inputs(asked))
        return found["logits"], found["iou"]

    def to_arrays(self, features: Features) -> dict[str, NDArray[Any]]:
        """Return the features, which are arrays."""
        return {name: features[name] for name in self.spec.shapes}

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Features:
        """Return the features that ``to_arrays`` gave.

        Raises
        ------
        CorruptFileError
            If these are not the features of this network.
        """
        require_features(arrays, self.spec.shapes)
        return dict(arrays)
