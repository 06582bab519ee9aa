"""``samaritan segment``: prompts in, a mask in the right place out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samaritan.cli._errors import Debug, UsageError
from samaritan.cli._json import as_json
from samaritan.cli._options import Encoding, Json, Select, Series, Volume
from samaritan.cli._order import given
from samaritan.cli._parse import choice, encoding, size_in_bytes
from samaritan.cli._progress import progress_bar

if TYPE_CHECKING:
    from samaritan.core.geometry import Axis

_POINT_HELP = "Click on the object: x,y on a picture, x,y,z (voxel indices i,j,k) on a volume."


def segment(
    ctx: typer.Context,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A file, or a folder of DICOM files.")],
    point: Annotated[list[str] | None, typer.Option(metavar="x,y[,z]", help=_POINT_HELP)] = None,
    negative: Annotated[list[str] | None, typer.Option(metavar="x,y[,z]", help="Click beside the object.")] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="x0,y0[,z0]:x1,y1[,z1]", help="Box around the object; half-open voxel indices."),
    ] = None,
    scribble: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Strokes on the image's grid: 1 on the object, 2 beside.")
    ] = None,
    lasso: Annotated[
        list[str] | None, typer.Option(metavar="x,y:x,y:...[@z]", help="Outline around the object in one slice.")
    ] = None,
    mask: Annotated[list[str] | None, typer.Option(metavar="FILE", help="An earlier or rough mask to improve.")] = None,
    text: Annotated[
        list[str] | None, typer.Option(metavar="WORDS", help="What the object is called, for models that read: polyp.")
    ] = None,
    slice_: Annotated[
        int | None, typer.Option("--slice", metavar="N", help="Slice of a volume that prompts of two numbers lie in.")
    ] = None,
    axis: Annotated[
        str | None, typer.Option(metavar="i|j|k", help="Axis of --slice, along which the volume is cut; else k.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Name of the object. Repeat it for several: each prompt follows its label."),
    ] = None,
    world: Annotated[bool, typer.Option("--world", help="Points and boxes are in millimetres, RAS+.")] = False,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Prompts from a file; see docs/guides/prompts.md.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Model; see samaritan models. A checkpoint is recognised.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A checkpoint to use in place of the published one of --model.")
    ] = None,
    window: Annotated[
        str | None, typer.Option(metavar="NAME|C,W", help="Intensity window: a name such as lung, or centre,width.")
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Channels that the model sees: NAME, N, average[:NAME,...] or each[:NAME,...]; else the first.",
        ),
    ] = None,
    add_channel: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]FILE", help="A further sequence of the same case, on the same grid."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where the model runs.")] = "auto",
    max_memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Memory not to exceed, such as 4GiB.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT", help="Mask file; its ending says which format.")
    ] = None,
    type_: Encoding = None,
    overlay: Annotated[Path | None, typer.Option(metavar="OUT.png", help="Draw the result into a picture.")] = None,
    series: Series = None,
    select: Select = None,
    volume: Volume = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take: planes, time, memory, disk. Nothing is kept.")
    ] = False,
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Segment what prompts point at.

    On a picture, a slice or a volume; the result is a label map on the grid of the image.

    Example: samaritan segment ct.nii.gz --box 120,140,40:220,260,60 -o liver.nii.gz
    """
    from samaritan.cli import _dry_run, _run
    from samaritan.cli._channels import added_files, rule
    from samaritan.cli._run import Job

    job = Job(
        image=image,
        given=tuple(option for option in given(ctx) if option[0] != "add_channel"),
        prompts=prompts,
        world=world,
        axis=_axis(axis),
        slice_index=slice_,
        model=model,
        weights=weights,
        window=window,
        device=device,
        max_memory=size_in_bytes(max_memory) if max_memory else None,
        output=output,
        encoding=encoding(type_),
        overlay=overlay,
        series=choice(series),
        select=choice(select),
        volume=volume,
        channels=rule(channels, added=bool(add_channel)),
        added=added_files(image, add_channel or ()),
    )
    if dry_run:
        planned = _dry_run.dry_run(job)
        typer.echo(as_json(planned) if as_json_ else _dry_run.expectation(planned))
        return
    with progress_bar(quiet=as_json_) as progress:
        report = _run.run(job, progress=progress)
    typer.echo(as_json(report) if as_json_ else summary(report))


def summary(report: Mapping[str, Any]) -> str:
    """Return what was found and where it was written, for people."""
    lines = []
    for found in report["objects"]:
        size = next(f"{v:,} {k.partition('_')[2]}" for k, v in found.items() if k.startswith(("volume_", "area_")))
        iou = "" if found["predicted_iou"] is None else f", predicted IoU {found['predicted_iou']:.2f}"
        voxels = f"{found['voxels']:,} voxels, " if report["spacing_mm"] else ""
        lines.append(
            f"{found['label']}: {voxels}{size}{iou}" if found["voxels"] else f"{found['label']}: nothing found"
        )
    lines += [f"{name} written to {path}" for name, path in report["outputs"].items()]
    return "\n".join(lines)


def _axis(text: str | None) -> Axis | None:
    from samaritan.core.geometry import AXES

    if text is None or text in AXES:
        return text
    raise UsageError(got=f"--axis '{text}'", wanted="i, j or k")
