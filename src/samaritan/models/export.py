"""From a model in PyTorch to a bundle of ONNX graphs, with a certificate that both say the same.

The graphs keep the network's own tensors: float32, any number of prompts and of tokens.
"""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from samaritan.core.errors import MissingExtraError, WeightsError, WriteError
from samaritan.core.image import Image
from samaritan.core.model import Model
from samaritan.models.bundle import CERTIFICATE, DECODER, ENCODER, bundle_table, load_bundle, write_card
from samaritan.models.certificate import Certificate, certify
from samaritan.models.checkpoint import sha256_of
from samaritan.models.planar import PlanarModel
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.quantise import quantise
from samaritan.models.trial import Source

LEAST_DICE, LEAST_DICE_INT8 = 0.999, 0.98
_OPSET = 20  # the first in which GELU is one operation
_MOST_IN_ONE_FILE = 1 << 30  # bytes of weights; protobuf ends at 2 GiB
_TOKENS = 3  # of the example that the decoder is exported with


def export(
    model: Model,
    folder: Path,
    *,
    images: Sequence[Image],
    source: Source | None = None,
    runtime: str = "auto",
    int8: bool = False,
) -> Certificate:
    """Write a bundle of ``model`` into a new ``folder``, whole or not at all, and return its certificate.

    Parameters
    ----------
    model
        One of planes in PyTorch.
    folder
        Must not exist yet, or be empty.
    images
        Planes as ``Model.embed`` wants them, on which both are compared.
    source
        Where another process finds the model, to measure the memory that it takes; None leaves that out.
    runtime
        What the bundle is run with, unless who loads it says otherwise.
    int8
        Whether the encoder computes in eight bits, calibrated on ``images``.

    Raises
    ------
    WeightsError
        If the model is not one of planes in PyTorch, or if the export changes its masks: below a Dice of
        ``LEAST_DICE``, or in eight bits of ``LEAST_DICE_INT8``.
    WriteError
        If the folder is there and not empty, or cannot be written.
    MissingExtraError
        If onnx and onnxscript are not installed.
    ResourceError
        If there is too little memory to measure what both take.
    """
    planar, network = exportable(model)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WriteError(got=f"{folder} exists", wanted="a new or an empty folder", fix="Choose another name with -o")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".samaritan-", dir=folder.parent) as place:
            staged = Path(place) / folder.name
            staged.mkdir()
            _write_graphs(network, planar.frame.side, staged)
            if int8:
                quantise(staged / ENCODER, [planar.frame.picture(image) for image in images])
            files = {path.name: sha256_of(path) for path in sorted(staged.iterdir())}
            write_card(staged, model.card, bundle_table(planar, runtime), files)
            device = source.device if source else "auto"
            sources = (source, Source(str(staged), device=device))
            certificate = certify(model, load_bundle(staged, device=device), images, sources=sources)
            _require_likeness(certificate, int8=int8)
            (staged / CERTIFICATE).write_text(json.dumps(certificate.to_dict(), indent=2) + "\n", encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            staged.rename(folder)
    except OSError as error:
        raise WriteError(got=f"cannot write {folder}: {error.strerror or error}") from error
    return certificate


def _require_likeness(certificate: Certificate, *, int8: bool) -> None:
    least = LEAST_DICE_INT8 if int8 else LEAST_DICE
    if certificate.dice < least:
        raise WeightsError(
            got=f"the exported model's masks differ from the original's: Dice {certificate.dice:.4f}",
            wanted=f"at least {least} on each of the {certificate.images} images",
            fix="Calibrate on more of your own images, or leave out --int8" if int8 else "Please report this",
        )


def exportable(model: Model) -> tuple[PlanarModel, TorchNetwork]:
    """Return a model that can be exported, and its network.

    Raises
    ------
    WeightsError
        If it cannot.
    """
    # Exactly: what a family's own network does around its graphs would be missing from the bundle.
    if not isinstance(model, PlanarModel) or type(model.network) is not TorchNetwork:
        raise WeightsError(
            got=f"model '{model.card.name}', which cannot be exported",
            wanted="a model such as sam-vit-b, or a checkpoint of such a family",
            fix="The default model is ONNX already; models of volumes and of words run in PyTorch only",
        )
    return model, model.network


def _write_graphs(network: TorchNetwork, side: int, folder: Path) -> None:
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
        except ModuleNotFoundError as error:
            raise MissingExtraError.of(what="export", extra="train") from error
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
