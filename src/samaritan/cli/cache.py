"""``samaritan cache``: what is kept of images that were encoded before."""

from __future__ import annotations

from typing import Annotated

import typer

from samaritan.cli._errors import Debug, UsageError
from samaritan.cli._json import as_json
from samaritan.cli._options import Json


def cache(
    action: Annotated[str, typer.Argument(metavar="info|clear", help="Show what is kept, or remove it.")],
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Show or clear what is kept of images.

    The cache of embeddings makes a second prompt on the same image quick. It lies in
    the user's cache folder, or where SAMARITAN_CACHE says.
    """
    from samaritan.infer.cache import EmbeddingCache
    from samaritan.infer.memory import format_size

    store = EmbeddingCache()
    if action == "info":
        held, verb = store.info(), "holds"
    elif action == "clear":
        held, verb = store.clear(), "held, and no longer holds,"
    else:
        raise UsageError(got=f"cache {action}", wanted="info or clear")
    if as_json_:
        facts = {"folder": str(held.root), "entries": held.entries, "bytes": held.nbytes, "max_bytes": held.max_bytes}
        typer.echo(as_json({**facts, "cleared": action == "clear"}))
        return
    typer.echo(
        f"{held.root} {verb} {held.entries} embeddings, {format_size(held.nbytes)} of {format_size(held.max_bytes)}"
    )
