"""``samaritan models pull``: the checkpoints of published models, to where models are loaded from.

A file is checked against the SHA-256 on its card. Where the card has none, the one that the Hugging Face hub tells has
to be right; either way it is then recorded beside the file (``<file>.sha256``, as ``sha256sum`` writes and checks it),
so that a later change is noticed when the model is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from samaritan.core.errors import (
    ChecksumError,
    LicenceNotAcceptedError,
    ResourceError,
    UnknownNameError,
    WriteError,
)
from samaritan.models.checkpoint import sha256_of
from samaritan.models.download import Progress, Wanted, bytes_kept, download
from samaritan.models.folders import held
from samaritan.models.published import Published, published, published_names, record, recorded, require_right
from samaritan.models.registry import LISTED_BY, MODELS

_CHECKED = "checking"  # the stage that follows the download, for a progress bar


def pull(name: str, *, accept_licence: bool = False, force: bool = False, progress: Progress | None = None) -> Path:
    """Bring the checkpoint of a published model to its place, and return that; one that is there already is checked.

    So are the other files that the model needs, if there are any.

    What an interrupted call has brought is gone on with; one that brings nothing leaves nothing. Several calls at once
    are safe: one works, the others raise.

    Parameters
    ----------
    name
        Of a published model.
    accept_licence
        Whether its licence is accepted, where that has to be said.
    force
        Whether to fetch it anew even if it is there.
    progress
        Told the stage, the bytes done and all of them (0 if unknown), again and again.

    Raises
    ------
    UnknownNameError
        If there is no such model, or it has no checkpoint to fetch.
    LicenceNotAcceptedError
        If its licence has to be accepted first.
    ChecksumError
        If what is there, or what arrived, is not the published file.
    WeightsError
        If it cannot be fetched: the error says why, and where to put the file by hand.
    ResourceError
        If the disk has not the room, or another call is fetching it.
    WriteError
        If the folder cannot be written to.
    """
    known = fetchable(name)
    for part in known.parts:
        _bring(part, accept_licence=accept_licence, force=force, progress=progress)
    return known.path


def _bring(known: Published, *, accept_licence: bool, force: bool, progress: Progress | None) -> None:
    """Bring one file to its place, or check it there."""
    if known.path.is_dir():
        raise WriteError(got=f"{known.path} is a folder", wanted="a file there, or nothing", fix="Move it away")
    if known.path.is_file() and not force:
        _check(known, progress)
        return
    if known.accept and not accept_licence:
        raise _licence(known, force=force)
    with _alone(known):
        if known.path.is_file() and not force:  # another call has brought it while this one began
            _check(known, progress)
            return
        wanted = _wanted(known)
        _settle(known, wanted, download(wanted, progress), progress)


def kept(name: str) -> int:
    """Return how many bytes of a model's files an interrupted call has brought."""
    return sum(bytes_kept(_wanted(part).part) for part in fetchable(name).parts)


def fetchable(name: str) -> Published:
    """Return a published model.

    Raises
    ------
    UnknownNameError
        If there is no such model, or it has no checkpoint to fetch.
    """
    if name in MODELS and name not in published_names():
        raise UnknownNameError(
            got=f"model '{name}', which has no checkpoint to fetch",
            wanted=f"a published model; `{LISTED_BY}` lists all",
            fix=f"samaritan models {name} tells how it is used",
        )
    return published(name)


def _wanted(known: Published) -> Wanted:
    return Wanted(
        url=known.url,
        part=known.path.with_name(f"{known.file}.part"),
        size=known.bytes,
        sha256=known.hashes,
        by_hand=f"Or fetch {known.url} on another machine, and put it here: {known.path}",
    )


def _licence(known: Published, *, force: bool) -> LicenceNotAcceptedError:
    card, again = known.card, " --force" if force else ""
    use = "" if card.commercial_use else ", not for commercial use"
    return LicenceNotAcceptedError(
        got=f"the weights of '{card.name}' are under {card.licence}{use}",
        wanted="your word that you accept that",
        fix=f"Read it at {known.licence_url}, then type: samaritan models pull {card.name}{again} --accept-licence",
    )


def _check(known: Published, progress: Progress | None) -> None:
    """Raise ``ChecksumError`` unless a file that is there is right; one without a published hash is recorded."""
    if not known.path.stat().st_size:
        raise ChecksumError(
            got=f"{known.path} is empty",
            wanted=f"{known.file} as it was published",
            fix=f"Replace it: samaritan models pull {known.card.name} --force",
        )
    found = _hash(known.path, progress)
    require_right(known, found)
    if not (known.hashes or recorded(known.path)):
        record(known.path, found)


def _settle(known: Published, wanted: Wanted, told: str, progress: Progress | None) -> None:
    """Check what has arrived, and put it in its place."""
    found = _hash(wanted.part, progress)
    allowed = known.hashes or ((told,) if told else (found,))
    if found not in allowed:
        wanted.drop()
        raise ChecksumError(
            got=f"{known.file} arrived with SHA-256 {found[:12]}…",
            wanted=f"{allowed[0][:12]}…, as {'its card says' if known.hashes else 'its server tells'}",
            fix=f"It was removed. Type the same again; if it stays so, its publisher has changed it. {wanted.by_hand}",
        )
    try:
        wanted.part.replace(known.path)
    except OSError as error:  # Windows replaces no file that a program holds open
        raise WriteError(got=f"cannot replace {known.path}: {error.strerror}", fix="Close what uses it") from error
    wanted.drop()
    if not known.hashes:
        record(known.path, found)


def _hash(path: Path, progress: Progress | None) -> str:
    size = path.stat().st_size
    return sha256_of(path, report=(lambda done: progress(_CHECKED, done, size)) if progress else None)


@contextmanager
def _alone(known: Published) -> Iterator[None]:
    """Hold the folder of a checkpoint against other calls until the block ends."""
    folder = known.path.parent
    with ExitStack() as stack:
        try:
            ours = stack.enter_context(held(folder))
        except OSError as error:
            raise WriteError(
                got=f"cannot write into {folder}: {error.strerror}", fix="Set SAMARITAN_MODELS to a folder that you own"
            ) from error
        if not ours:
            raise ResourceError(
                got=f"{known.file} is being fetched by another call", wanted="one at a time", fix="Wait for it to end"
            )
        yield
