"""``samaritan models pull`` and ``inspect``: checkpoint files that come here, and what is in them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samaritan.cli._cards import show
from samaritan.cli._errors import Debug, exit_code
from samaritan.cli._json import as_json
from samaritan.cli._options import Json
from samaritan.cli._progress import progress_bar
from samaritan.cli._stop import reason

if TYPE_CHECKING:
    from samaritan.models.family import Difference
    from samaritan.models.inspection import Inspection

_NAMED = 5  # tensors that differ, of each kind


def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model in the list.")],
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", "--accept-license", help="I have read its licence and accept it.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Fetch it anew, even if it is here.")] = False,
    as_json_: Json = False,
    debug: Debug = False,  # read by the guard around every verb
) -> None:
    """Fetch the checkpoint of a model, and check it.

    What an interrupted call has brought is gone on with. Checkpoints lie in the user's
    data folder, or where SAMARITAN_MODELS says. HF_TOKEN is told to huggingface.co only.

    Example: samaritan models pull medsam
    """
    from samaritan.models.pull import fetchable, kept
    from samaritan.models.pull import pull as fetch

    before = _stamp(fetchable(name).path)
    try:
        with progress_bar(quiet=as_json_, sizes=True) as progress:
            path = fetch(name, accept_licence=accept_licence, force=force, progress=progress)
    except KeyboardInterrupt as stop:
        word, code = reason(stop)
        again = " --force" * force + " --accept-licence" * accept_licence
        typer.echo(f"{word}: {kept(name):,} bytes are kept", err=True)
        typer.echo(f"To go on: samaritan models pull {name}{again}", err=True)
        raise typer.Exit(code) from None
    fetched = _stamp(path) != before
    if as_json_:
        typer.echo(as_json({"name": name, "path": str(path), "bytes": path.stat().st_size, "fetched": fetched}))
        return
    typer.echo(f"{name}: {'fetched and checked' if fetched else 'is here, and right'}: {path}")
    if find_spec("torch") is None:
        typer.echo("To run it: pip install 'samaritan[torch]'", err=True)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced; None if there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE|DIR", help="A checkpoint, an ONNX graph, or an exported model.")
    ],
    as_json_: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is in a file: which model it is, or is most like, and how it differs.

    Its name does not matter. Nothing in it is run. Leaves with exit code 1 if it cannot be used.
    Of a folder that `samaritan export` wrote, the card is shown.
    """
    from samaritan.models.bundle import is_bundle
    from samaritan.models.inspection import inspect as look

    if is_bundle(file):
        show(str(file.absolute()), as_json_=as_json_)  # a folder, even if it is called like a model
        return
    found = look(file)
    typer.echo(as_json(found.to_dict()) if as_json_ else _told(found))
    if found.trouble is not None:
        if debug:
            raise found.trouble
        if not as_json_:
            typer.echo(f"error: {found.trouble}", err=True)
        raise typer.Exit(exit_code(found.trouble))


def _told(found: Inspection) -> str:
    """Return what is known of a file as aligned lines; what is unknown is left out."""
    facts: dict[str, Any] = {
        "file": found.path,
        "form": f"{found.form}, {found.nbytes:,} bytes",
        "sha256": found.sha256,
        "published as": ", ".join(found.published) or "(no model with this SHA-256)",
    }
    if found.tensors:
        types = ", ".join(f"{kind} ({count})" for kind, count in found.dtypes.items())
        facts["tensors"] = f"{found.tensors:,} with {found.parameters:,} values: {types}"
        if found.left_out:
            facts["left out"] = _lines(list(found.left_out))
        facts |= _likeness(found)
    for name, nodes in (("inputs", found.inputs), ("outputs", found.outputs)):
        if nodes:
            facts[name] = _lines([f"{key} {kind} {shape}" for key, (kind, shape) in nodes.items()])
    return "\n".join(f"{name:<15}{value}" for name, value in facts.items())


def _likeness(found: Inspection) -> dict[str, str]:
    like = found.recognised
    if like is None:
        return {"model": "none that is known here"}
    name = f"{like.variant}, family {like.family}"
    if like.difference.none:
        others = ", ".join(found.others)
        also = {"or": f"{others} (then: --model {found.others[0]} --weights FILE)"} if others else {}
        what = "exactly what it needs for pictures, without its memory" if like.for_planes else "exactly its tensors"
        return {"model": f"{name}: {what}", **also}
    apart = like.difference
    return {"nearest": f"{name}: {apart.alike} of {apart.total} tensors are alike", **_apart(apart)}


def _apart(difference: Difference) -> dict[str, str]:
    kinds = {"missing": difference.missing, "not known": difference.unexpected, "other shape": difference.reshaped}
    told = {kind: _lines(_few(names)) for kind, names in kinds.items() if names}
    if difference.renamed and difference.missing:
        told["missing"] = _lines([told["missing"], "(as the model calls them)"])
    return told


def _few(names: tuple[str, ...]) -> list[str]:
    more = len(names) - _NAMED
    return [*names[:_NAMED], *([f"and {more} more"] if more > 0 else [])]


def _lines(entries: list[str]) -> str:
    return ("\n" + " " * 15).join(entries)
