"""``samaritan export``: a model as a folder of ONNX graphs that runs without PyTorch, and proof that it is one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samaritan.cli._errors import Debug
from samaritan.cli._json import as_json
from samaritan.cli._options import Device, Json
from samaritan.cli._progress import progress_bar

if TYPE_CHECKING:
    from samaritan.core.image import Image
    from samaritan.core.model import Model, ModelCard
    from samaritan.models.certificate import Certificate, Cost


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name, or a checkpoint file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A new folder, or an empty one.")],
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A checkpoint to take in place of the model's own.")
    ] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Compare on this image (of a volume: its middle slice). Repeat for more."),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="The encoder in eight bits, calibrated on the images.")] = False,
    runtime: Annotated[
        str, typer.Option(metavar="NAME", help="auto, onnxruntime or openvino: what the folder is run with.")
    ] = "auto",
    device: Device = "auto",
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Export a model to ONNX, to run it without PyTorch.

    The folder is a model: `samaritan segment IMAGE --model DIR ...`. Its parity.json says how well it agrees with the
    original, and what each takes.
    """
    from samaritan.cli._errors import UsageError
    from samaritan.models.export import export as write
    from samaritan.models.runtimes import choose
    from samaritan.models.trial import Source
    from samaritan.models.whole_folder import require_place

    choose(runtime, device, heavy=True)
    if int8 and not image:
        raise UsageError(
            got="--int8 without images to calibrate on",
            wanted="some of your own images, of the kind that the model is to segment",
            fix="Add --image FILE, several times: ten are better than one",
        )
    require_place(output)
    loaded = _loaded(model, weights, device)
    images = [_plane(path, loaded.card) for path in image or ()] or [_phantom()]
    source = Source(model, weights=weights, device=device)
    with progress_bar(quiet=as_json_) as progress:
        certificate = write(loaded, output, images=images, source=source, runtime=runtime, int8=int8, progress=progress)
    if as_json_:
        typer.echo(as_json({"output": str(output), **certificate.to_dict()}))
    else:
        typer.echo(_told(certificate, output, loaded.card))


def _loaded(model: str, weights: Path | None, device: str) -> Model:
    """Load the model; where PyTorch is missing for it, say at once all that an export needs."""
    from samaritan.core.errors import MissingExtraError
    from samaritan.models import load_model
    from samaritan.models.export import require_packages

    try:
        return load_model(model, weights=weights, device=device)
    except MissingExtraError:
        require_packages()
        raise


def _plane(path: Path, card: ModelCard) -> Image:
    """Return the middle slice of an image file as the model wants it."""
    from samaritan.infer.intensity import IntensityMap
    from samaritan.io import read

    image = read(path)
    plane = image if image.is_2d else image.plane("k", image.shape[2] // 2)
    return IntensityMap.of(image, card)(plane)


def _phantom() -> Image:
    from samaritan.testing.phantoms import picture

    return picture(320, 240, colour=True).image


def _told(certificate: Certificate, output: Path, card: ModelCard) -> str:
    before, after = certificate.before, certificate.after
    prompt = "--point X,Y" if "point" in card.prompts else "--box X0,Y0:X1,Y1"
    return "\n".join(
        (
            f"{certificate.model} exported to {output}",
            f"  masks          Dice {certificate.dice:.4f} at least, on {certificate.images} image(s)",
            f"  logits         {certificate.logits_apart:.2g} apart at most (spread {certificate.logits_spread:.2g})",
            f"  an image       {before.embed_s:.2f} s in PyTorch, {after.embed_s:.2f} s now",
            f"  a prompt       {1000 * before.decode_s:.0f} ms in PyTorch, {1000 * after.decode_s:.0f} ms now",
            f"  memory         {_mib(before)} in PyTorch, {_mib(after)} now",
            f"Use it: samaritan segment IMAGE --model {output} {prompt}",
        )
    )


def _mib(cost: Cost) -> str:
    return "not known" if cost.memory_mib is None else f"{cost.memory_mib:.0f} MiB"
