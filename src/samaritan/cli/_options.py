"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Series = Annotated[
    str | None, typer.Option("--series", metavar="NAME", help="DICOM series: its UID, description or number.")
]
Select = Annotated[
    str | None, typer.Option("--select", metavar="NAME|N", help="Channel or time point of a file that holds several.")
]
Encoding = Annotated[str | None, typer.Option("--type", metavar="BINARY|LABELMAP", help="Kind of DICOM SEG to write.")]
Volume = Annotated[bool, typer.Option("--volume", help="The pages of a TIFF are the slices of one volume.")]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda|mps", help="Where the model runs.")]
