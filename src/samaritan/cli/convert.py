"""``samaritan convert``: from one format to another, every voxel in its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samaritan.cli._errors import Debug
from samaritan.cli._options import Encoding, Select, Series, Volume
from samaritan.cli._parse import choice, encoding

if TYPE_CHECKING:
    from samaritan.core.image import Image, LabelMap


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A file, or a folder of DICOM files.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The new file; its ending says which format.")],
    labels: Annotated[
        bool, typer.Option("--labels", help="IN is a label map, though its file does not say so.")
    ] = False,
    reference: Annotated[
        Path | None, typer.Option(metavar="IMAGE", help="Image whose grid a DICOM SEG or RTSTRUCT is drawn on.")
    ] = None,
    type_: Encoding = None,
    series: Series = None,
    select: Select = None,
    volume: Volume = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Convert images and label maps.

    Every voxel keeps its place, and every label its name.
    """
    from samaritan.cli._output import require_writable
    from samaritan.io import read, read_labels, write

    require_writable(target, inputs=(source, *([reference] if reference else [])))
    grid = read(reference).geometry if reference is not None else None
    value: Image | LabelMap | None = None
    if labels or reference is not None:
        value = read_labels(source, reference=grid)
    elif series is None and select is None and not volume:
        value = _named_labels(source)
    if value is None:
        value = read(source, series=choice(series), select=choice(select), volume=volume)
    write(value, target, source=reference or source, encoding=encoding(type_))
    typer.echo(f"{source} written to {target}: {value.geometry}")


def _named_labels(path: Path) -> LabelMap | None:
    """Return the label map in ``path`` if the file says that it is one, by naming its labels."""
    from samaritan.core.errors import SamaritanError
    from samaritan.io import read_labels

    try:
        found = read_labels(path)
    except SamaritanError:  # it holds something else; reading it as an image will tell
        return None
    return found if found.names else None
