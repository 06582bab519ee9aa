"""From a model in PyTorch to a bundle of ONNX graphs, with a certificate that both say the same.

The graphs keep the network's own tensors: float32, any number of prompts and of tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from samaritan.core.errors import ImageError, MissingExtraError, WeightsError
from samaritan.core.image import Image
from samaritan.core.model import Model
from samaritan.models.bundle import CARD, CERTIFICATE, ENCODER, bundle_table, load_bundle, write_card
from samaritan.models.certificate import Certificate, agreement, certify
from samaritan.models.checkpoint import sha256_of
from samaritan.models.planar import PlanarModel
from samaritan.models.planar.graph_network import GraphNetwork
from samaritan.models.quantise import quantise
from samaritan.models.runtimes import RUNTIMES
from samaritan.models.trial import Source
from samaritan.models.whole_folder import whole_folder

if TYPE_CHECKING:
    from samaritan.models.download import Progress
    from samaritan.models.planar.torch_network import TorchNetwork

LEAST_DICE, LEAST_DICE_INT8 = 0.999, 0.98
_PACKAGES = ("torch", "transformers", "onnx", "onnxscript")  # of the extra "export"; this module needs none to import


def export(
    model: Model,
    folder: Path,
    *,
    images: Sequence[Image],
    source: Source | None = None,
    runtime: str = "auto",
    int8: bool = False,
    progress: Progress | None = None,
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
    progress
        Called with a stage's name, the work done and all of it: (name, 0, 0) when it begins, (name, 1, 1) at its end.

    Raises
    ------
    ImageError
        If there is no image.
    WeightsError
        If the model is not one of planes in PyTorch, or if the export changes its masks: below a Dice of
        ``LEAST_DICE``, or in eight bits of ``LEAST_DICE_INT8``.
    WriteError
        If the folder is there and not empty, or cannot be written.
    MissingExtraError
        If a package of the extra "export" is not installed.
    ResourceError
        If there is too little memory to measure what both take.
    """
    planar, network = exportable(model)
    if not images:
        raise ImageError(got="no image to compare the export with the original on", wanted="at least one")
    with whole_folder(folder, last=CARD) as staged:  # which the card makes a bundle
        _write_graphs(planar, network, staged, progress)
        if int8:
            _round(planar, images, staged, progress)
        _write_card(planar, runtime, staged)
        certificate = _compare(planar, staged, images, source, progress)
        _require_likeness(certificate, int8=int8)
        _write_certificate(certificate, staged)
    return certificate


def exportable(model: Model) -> tuple[PlanarModel, TorchNetwork]:
    """Return a model that can be exported, and its network.

    Raises
    ------
    WeightsError
        If it cannot.
    MissingExtraError
        As ``require_packages``.
    """
    if isinstance(model, PlanarModel) and isinstance(model.network, GraphNetwork):
        raise WeightsError(
            got=f"model '{model.card.name}', a bundle already: it is ONNX and needs no PyTorch",
            wanted="a model in PyTorch",
            fix="Use the bundle as it is (--model DIR), or copy its folder. "
            "For --int8 or another --runtime, export the checkpoint that it was made from",
        )
    if isinstance(model, PlanarModel):
        from samaritan.models.planar.torch_network import TorchNetwork  # noqa: PLC0415 - it imports PyTorch

        # Exactly: what a family's own network does around its graphs would be missing from the bundle.
        if type(model.network) is TorchNetwork:
            require_packages()
            return model, model.network
    raise WeightsError(
        got=f"model '{model.card.name}', which cannot be exported",
        wanted="a model such as sam-vit-b, or a checkpoint of such a family",
        fix="The default model is ONNX already; models of volumes and of words run in PyTorch only",
    )


def require_packages() -> None:
    """Raise unless all packages that an export needs are installed.

    Raises
    ------
    MissingExtraError
        If one is not.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            got=f"an export needs {', '.join(missing)}, not installed here", fix="pip install 'samaritan[export]'"
        )


@contextmanager
def _stage(name: str, progress: Progress | None) -> Iterator[None]:
    """Say that a stage begins, and that it is done."""
    if progress:
        progress(name, 0, 0)
    yield
    if progress:
        progress(name, 1, 1)


def _write_graphs(model: PlanarModel, network: TorchNetwork, staged: Path, progress: Progress | None) -> None:
    from samaritan.models.graphs import write_graphs  # noqa: PLC0415 - it imports PyTorch

    with _stage("Writing the graphs", progress):
        write_graphs(network, model.frame.side, staged)


def _round(model: PlanarModel, images: Sequence[Image], staged: Path, progress: Progress | None) -> None:
    """Bring the encoder to eight bits, with the ranges of values that it has on ``images``."""
    with _stage("Rounding to eight bits", progress):
        quantise(staged / ENCODER, [model.frame.picture(image) for image in images])


def _write_card(model: PlanarModel, runtime: str, staged: Path) -> None:
    """Write the card, with the hashes of all files that are there by now."""
    files = {path.name: sha256_of(path) for path in sorted(staged.iterdir())}
    write_card(staged, model.card, bundle_table(model, runtime), files)


def _compare(
    model: PlanarModel, staged: Path, images: Sequence[Image], source: Source | None, progress: Progress | None
) -> Certificate:
    """Ask the model and the bundle that was made of it the same."""
    device = source.device if source else "auto"
    sources = (source, Source(str(staged), device=device))
    with _stage("Comparing with the original", progress):
        made = load_bundle(staged, device=device)
        certificate = certify(model, made, images, sources=sources)
    others = {}
    for name in _other_runtimes(made):
        with _stage(f"Comparing on {name}", progress):
            others[name] = agreement(model, load_bundle(staged, runtime=name, device="cpu"), images[0])
    return replace(certificate, others=others)


def _other_runtimes(made: PlanarModel) -> list[str]:
    """Return the runtimes that are installed here and do not run the encoder: another machine may have them alone."""
    used = made.network.runners["encoder"].package
    return [name for name in RUNTIMES if name not in ("auto", used) and find_spec(name) is not None]


def _require_likeness(certificate: Certificate, *, int8: bool) -> None:
    least = LEAST_DICE_INT8 if int8 else LEAST_DICE
    if certificate.least_dice < least:
        raise WeightsError(
            got=f"the exported model's masks differ from the original's: Dice {certificate.least_dice:.4f}",
            wanted=f"at least {least} on each of the {certificate.images} images",
            fix="Calibrate on more of your own images, or leave out --int8" if int8 else "Please report this",
        )


def _write_certificate(certificate: Certificate, staged: Path) -> None:
    (staged / CERTIFICATE).write_text(json.dumps(certificate.to_dict(), indent=2) + "\n", encoding="utf-8")
