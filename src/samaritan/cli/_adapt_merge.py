"""``samaritan adapt merge``: what an adapter has learnt, in the weights themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samaritan.cli._errors import Debug, UsageError
from samaritan.cli._json import as_json
from samaritan.cli._options import Json
from samaritan.core.errors import MissingExtraError

_CHECKPOINT = ".safetensors"


def merge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of an adapter.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="A folder, or a checkpoint ending in .safetensors.")
    ],
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Write an adapter into the weights of its base, where its method allows it.

    A folder is a model that needs the base no more to be computed beside it; a checkpoint of Segment Anything's
    families is one that others' programs read, too.
    """
    try:
        from samaritan.adapt.merging import merged_checkpoint, merged_folder
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(what="merging an adapter", extra="adapt") from error
    from samaritan.adapt.adapter import CARD

    if not (run / CARD).is_file():
        raise UsageError(got=f"{run}, which is no adapter", wanted="a folder that samaritan adapt wrote")
    if output.resolve() == run.resolve():
        raise UsageError(got=f"-o {output}, which is the adapter itself", wanted="another folder or file")
    written = merged_checkpoint(run, output) if output.suffix == _CHECKPOINT else merged_folder(run, output)
    told = {"output": str(output), "parameters": written}
    typer.echo(as_json(told) if as_json_ else f"{written:,} parameters written to {output}   --model {output}")
