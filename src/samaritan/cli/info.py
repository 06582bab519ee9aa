"""``samaritan info``: what is in a file, before anything is done with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samaritan.cli._errors import Debug, describe
from samaritan.cli._json import as_json
from samaritan.cli._options import Json, Select, Series, Volume
from samaritan.cli._parse import choice

if TYPE_CHECKING:
    from samaritan.core.image import Image, LabelMap
    from samaritan.io import ReadOptions

_SOME_FAILED = 1


def info(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Files, or folders of DICOM files.")],
    series: Series = None,
    select: Select = None,
    volume: Volume = False,
    as_json_: Json = False,
    debug: Debug = False,
) -> None:
    """Show what is in images.

    Format, size, spacing, orientation, values, and the intensity window that they are segmented with.
    Leaves with exit code 1 if some could not be read.
    """
    from samaritan.core.errors import SamaritanError
    from samaritan.io import ReadOptions
    from samaritan.io.dispatch import find_format

    options = ReadOptions(series=choice(series), select=choice(select), volume=volume)
    found: list[dict[str, Any]] = []
    for path in images:
        try:
            found.append({"path": str(path), "format": find_format(path).name, **_facts(path, options)})
        except SamaritanError as error:
            if debug:
                raise
            found.append({"path": str(path), "error": describe(error)})
    typer.echo(as_json(found) if as_json_ else "\n\n".join(map(_text, found)))
    if any("error" in facts for facts in found):
        raise typer.Exit(_SOME_FAILED)


def _facts(path: Path, options: ReadOptions) -> dict[str, Any]:
    from samaritan.core.errors import SamaritanError, UnsupportedFormatError
    from samaritan.io import read, read_labels

    try:
        image = read(path, series=options.series, select=options.select, volume=options.volume)
    except UnsupportedFormatError as no_image:
        try:
            return _facts_of_labels(read_labels(path))
        except SamaritanError:  # no labels either: the first error says more
            raise no_image from None
    return _facts_of_image(image)


def _facts_of_labels(labels: LabelMap) -> dict[str, Any]:
    from samaritan.cli._report import grid_report

    return {**grid_report(labels.geometry), "labels": [labels.name(value) for value in labels.labels]}


def _facts_of_image(image: Image) -> dict[str, Any]:
    from samaritan.cli._report import grid_report

    return {
        **grid_report(image.geometry),
        "modality": image.modality or None,
        "channels": list(image.channels),
        "dtype": str(image.array.dtype),
        "range": [image.array.min().item(), image.array.max().item()],
        "window": _window(image),
        "window_in_file": None if image.window is None else list(image.window),
    }


def _window(image: Image) -> list[float] | None:
    """Return centre and width that the default model sees the image with; None for an image without contrast."""
    from samaritan.core.errors import ImageError
    from samaritan.infer.intensity import IntensityMap
    from samaritan.models import model_card

    try:
        used = IntensityMap.of(image, model_card())
    except ImageError:
        return None
    [scale] = used.scales
    return [round((scale.low + scale.high) / 2, 3), round(scale.high - scale.low, 3)]


def _text(facts: dict[str, Any]) -> str:
    """Return the facts of one file as aligned lines; what is unknown is left out."""
    lines = [facts["path"]]
    for name, value in facts.items():
        if name == "path" or value is None:
            continue
        text = (
            ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value) if isinstance(value, list) else value
        )
        lines.append(f"  {name:<15}{text}")
    return "\n".join(lines)
