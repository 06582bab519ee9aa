"""A network in PyTorch as two ONNX graphs: the encoder of one picture, the decoder of any number of prompts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from samaritan.core.errors import MissingExtraError, WeightsError
from samaritan.models.bundle import DECODER, ENCODER
from samaritan.models.planar.torch_network import TorchNetwork

_OPSET = 20  # the first in which GELU is one operation
_MOST_IN_ONE_FILE = 1 << 30  # bytes of weights; protobuf ends at 2 GiB
_TOKENS = 3  # of the example that the decoder is exported with


def write_graphs(network: TorchNetwork, side: int, folder: Path) -> None:
    """Write ``ENCODER`` and ``DECODER`` of a network for frames of ``side`` pixels into ``folder``.

    Raises
    ------
    MissingExtraError
        If onnxscript is too old for PyTorch.
    WeightsError
        If PyTorch makes no graph of one.
    """
    device = network.device
    picture = torch.zeros((1, 3, side, side), device=device)
    _write(network.encoder, (picture,), folder / ENCODER, inputs=["picture"], outputs=list(network.spec.shapes))
    features = tuple(torch.zeros(shape, device=device) for shape in network.spec.shapes.values())
    prompts, tokens = torch.export.Dim("prompts"), torch.export.Dim("tokens")
    example = (
        *features,
        torch.zeros((2, _TOKENS, 2), device=device),
        torch.zeros((2, _TOKENS), dtype=torch.int64, device=device),
        torch.zeros((2, 1, network.spec.mask_side, network.spec.mask_side), device=device),
        torch.zeros(2, device=device),
    )
    dynamic = (*({} for _ in features), {0: prompts, 1: tokens}, {0: prompts, 1: tokens}, {0: prompts}, {0: prompts})
    _write(
        network.decoder,
        example,
        folder / DECODER,
        inputs=[*network.spec.shapes, "coords", "labels", "mask", "has_mask"],
        outputs=["logits", "iou"],
        dynamic=dynamic,
    )


def _write(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    *,
    inputs: list[str],
    outputs: list[str],
    dynamic: tuple[dict[int, torch.export.Dim], ...] | None = None,
) -> None:
    size = sum(tensor.nbytes for tensor in module.state_dict().values())
    with _quiet():
        try:
            program = torch.onnx.export(
                module, example, dynamo=True, input_names=inputs, output_names=outputs, dynamic_shapes=dynamic,
                opset_version=_OPSET, verbose=False,
            )  # fmt: skip
        except ImportError as error:  # each PyTorch looks for parts of onnxscript that older ones of it lack
            raise MissingExtraError(
                got=f"PyTorch {torch.__version__} cannot export with the onnxscript installed here: {error}",
                wanted="a newer one",
                fix="pip install --upgrade onnx onnxscript",
            ) from error
    if program is None:
        raise WeightsError(got=f"PyTorch {torch.__version__} made no graph of {path.stem}")
    program.save(str(path), external_data=size > _MOST_IN_ONE_FILE)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to ourselves what PyTorch's exporter says of itself: deprecations, packages that it would also know."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
