"""``samaritan report``: a page about one run, or several compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samaritan.cli._errors import Debug, UsageError
from samaritan.cli._json import as_json
from samaritan.cli._options import Json
from samaritan.cli._progress import progress_bar


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `samaritan evaluate` wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="F.html", help="The page.")] = Path("report.html"),
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Write a page about evaluations, with figures, tables and pictures.

    It needs no other file and no network. Beside it are its figures (SVG) and tables (CSV, LaTeX).
    """
    from samaritan.cli._output import require_writable
    from samaritan.evaluate.report import write_report

    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(got=f"-o {output}", wanted="the name of a page", fix=f"-o {output.stem}.html")
    require_writable(output, inputs=())
    with progress_bar(quiet=as_json_) as told:
        files = write_report(runs, output, progress=told)
    typer.echo(
        as_json({name: str(path) for name, path in files.items()}) if as_json_ else f"{output}, and {files['files']}"
    )
