"""From a model in PyTorch to a bundle of ONNX graphs, with a certificate that both say the same.

The graphs keep the network's own tensors: float32, any number of prompts and of tokens.
"""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from samaritan.core.errors import ImageError, MissingExtraError, SamaritanError, WeightsError, WriteError
from samaritan.core.image import Image
from samaritan.core.model import Model
from samaritan.models.bundle import CARD, CERTIFICATE, ENCODER, bundle_table, load_bundle, write_card
from samaritan.models.certificate import Certificate, certify
from samaritan.models.checkpoint import sha256_of
from samaritan.models.planar import PlanarModel
from samaritan.models.planar.graph_network import GraphNetwork
from samaritan.models.quantise import quantise
from samaritan.models.trial import Source

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
    from samaritan.models.graphs import write_graphs  # noqa: PLC0415 - it imports PyTorch

    with _whole(folder) as staged:
        with _stage("Writing the graphs", progress):
            write_graphs(network, planar.frame.side, staged)
        if int8:
            with _stage("Rounding to eight bits", progress):
                quantise(staged / ENCODER, [planar.frame.picture(image) for image in images])
        files = {path.name: sha256_of(path) for path in sorted(staged.iterdir())}
        write_card(staged, model.card, bundle_table(planar, runtime), files)
        device = source.device if source else "auto"
        sources = (source, Source(str(staged), device=device))
        with _stage("Comparing with the original", progress):
            certificate = certify(model, load_bundle(staged, device=device), images, sources=sources)
        _require_likeness(certificate, int8=int8)
        (staged / CERTIFICATE).write_text(json.dumps(certificate.to_dict(), indent=2) + "\n", encoding="utf-8")
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


def require_place(folder: Path) -> None:
    """Raise unless a bundle may be written to ``folder``: before minutes are spent on it.

    Raises
    ------
    WriteError
        If it is there and not an empty folder, or cannot be looked into.
    """
    try:
        above = next(path for path in folder.absolute().parents if path.exists())
        if folder.is_dir():
            wrong = f"{folder} exists and is not empty" if any(folder.iterdir()) else ""
        elif folder.exists() or folder.is_symlink():
            wrong = f"{folder} exists and is a file"
        else:
            wrong = "" if above.is_dir() else f"{above}, which {folder} is to lie in, is a file"
    except OSError as error:
        raise _cannot_write(folder, error) from error
    if wrong:
        raise WriteError(got=wrong, wanted="a new or an empty folder", fix="Choose another name with -o")


@contextmanager
def _stage(name: str, progress: Progress | None) -> Iterator[None]:
    """Say that a stage begins, and that it is done."""
    if progress:
        progress(name, 0, 0)
    yield
    if progress:
        progress(name, 1, 1)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Give a folder to write to, which becomes ``folder`` if all goes well, and otherwise goes with all in it.

    Raises
    ------
    WriteError
        As ``require_place``, or if it cannot be written.
    """
    require_place(folder)
    there = folder.is_dir()
    try:
        # On the file system of ``folder``, so that files are moved without being copied.
        with (
            _above(folder),
            tempfile.TemporaryDirectory(prefix=".samaritan-", dir=folder if there else folder.parent) as place,
        ):
            staged = Path(place) / "bundle"
            staged.mkdir()
            yield staged
            if there:
                _fill(folder, staged)
            else:
                staged.rename(folder)  # refused if somebody has filled it meanwhile
    except SamaritanError:
        raise
    except OSError as error:
        raise _cannot_write(folder, error) from error


@contextmanager
def _above(folder: Path) -> Iterator[None]:
    """Make the folders that ``folder`` is to lie in; those that were made go again if what follows fails."""
    made = [path for path in folder.absolute().parents if not path.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):  # somebody has put something there
                path.rmdir()
        raise


def _fill(folder: Path, staged: Path) -> None:
    """Move the files into a folder that was there: a shell may stand in it, so it is not replaced by another one."""
    others = [path.name for path in folder.iterdir() if path.name != staged.parent.name]
    if others:
        raise WriteError(
            got=f"{folder} has got {others[0]} in it meanwhile", wanted="an empty folder", fix="Choose another one"
        )
    # The card comes last, since it makes a folder a bundle.
    names = sorted((path.name for path in staged.iterdir()), key=lambda name: name == CARD)
    try:
        for name in names:
            (staged / name).rename(folder / name)
    except BaseException:
        for name in names:
            (folder / name).unlink(missing_ok=True)
        raise


def _cannot_write(folder: Path, error: OSError) -> WriteError:
    full = "Free some space, or choose" if error.errno == errno.ENOSPC else "Choose"
    return WriteError(got=f"cannot write {folder}: {error.strerror or error}", fix=f"{full} another place with -o")


def _require_likeness(certificate: Certificate, *, int8: bool) -> None:
    least = LEAST_DICE_INT8 if int8 else LEAST_DICE
    if certificate.dice < least:
        raise WeightsError(
            got=f"the exported model's masks differ from the original's: Dice {certificate.dice:.4f}",
            wanted=f"at least {least} on each of the {certificate.images} images",
            fix="Calibrate on more of your own images, or leave out --int8" if int8 else "Please report this",
        )
