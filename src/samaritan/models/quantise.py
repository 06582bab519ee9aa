"""Encoders in eight bits: weights and activations as whole numbers, their ranges taken from the user's own images.

It pays on processors with instructions for it (VNNI, AMX); on those without, float32 is as fast, and the masks are the
same. So it is offered, and what it changes is measured: see ``certificate``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from samaritan.models.planar.network import Floats

# What is quantised: the products that nearly all of the time goes into. Norms and attention weights keep their floats.
_OPERATIONS = ["MatMul", "Gemm", "Conv"]


def quantise(encoder: Path, pictures: Sequence[Floats]) -> None:
    """Replace the encoder's graph in a file by one in eight bits, calibrated on ``pictures`` (1, 3, side, side) each.

    Where its weights lie in a file beside it, as those of graphs above 2 GiB must, they do so afterwards too.
    It needs the package onnx.
    """
    import onnx  # noqa: PLC0415 - an optional dependency
    from onnx.external_data_helper import uses_external_data  # noqa: PLC0415 - as above
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415 - slow

    graph = onnx.load(encoder, load_external_data=False).graph
    # Little work, and most of the error if rounded.
    first = [node.name for node in graph.node if "picture" in node.input]
    beside = any(uses_external_data(tensor) for tensor in graph.initializer)
    with tempfile.TemporaryDirectory(dir=encoder.parent) as place, _quiet():
        staged = Path(place) / encoder.name  # of the same name: a graph names the file that its weights lie in
        quantize_static(
            encoder,
            staged,
            _Pictures(pictures),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATIONS,
            nodes_to_exclude=first,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Weights in seven bits: processors without VNNI add two products in 16 bits, which would overflow.
            reduce_range=True,
            use_external_data_format=beside,
        )
        for path in staged.parent.iterdir():
            path.replace(encoder.with_name(path.name))


class _Pictures:
    """The pictures one after the other, as the calibration asks for them."""

    def __init__(self, pictures: Sequence[Floats]) -> None:
        self._left = iter(pictures)

    def get_next(self) -> dict[str, Any] | None:
        picture = next(self._left, None)
        return None if picture is None else {"picture": picture}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the advice that the library logs and prints on each use."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        logging.disable(level)
