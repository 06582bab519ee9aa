"""Models that others published: a card each, and a checkpoint that the user fetches or has.

A card is a TOML file in ``cards``. Beside the fields of ``ModelCard`` it has a table::

    [checkpoint]
    file = "sam_vit_b_01ec64.pth"       # its name at its source, and in our folder
    sha256 = "ec2d..."                  # "" where nobody has published it: then the first download settles it
    also = ["892c..."]                  # SHA-256 of other files with the same weights, which are this model as well
    bytes = 375042383                   # 0 where nobody has published it
    url = "https://..."
    variant = "sam-vit-b"               # of the family: what its tensors must be
    accept = true                       # whether the licence has to be accepted first
    terms = "https://..."               # where to read it, if not among SPDX's
    folder = "sam2.1-tiny"              # of the model that it shares its file with: what is left out is as on its card
    [checkpoint.frame]                  # where pictures are prepared otherwise than the family's: FrameSpec's fields
    fit = "stretch"
    [[checkpoint.beside]]               # each other file that it needs in the same folder
    file = "tokenizer.json"             # and sha256, bytes and url as above
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samaritan.core.errors import (
    CheckpointMismatchError,
    ChecksumError,
    MissingExtraError,
    UnknownNameError,
    WeightsError,
    WriteError,
)
from samaritan.core.model import Model, ModelCard
from samaritan.models.card import load_card, read_card
from samaritan.models.checkpoint import Checkpoint, CheckpointFile, read_checkpoint
from samaritan.models.family import (
    FAMILIES,
    Family,
    difference_from_all,
    family_of,
    fit,
    load_module,
    mismatch,
    recognise,
)
from samaritan.models.planar.frame import FrameSpec
from samaritan.models.registry import CARDS, LISTED_BY, ModelEntry

if TYPE_CHECKING:
    from torch import nn


class AmbiguousWeightsWarning(UserWarning):
    """A file has the tensors of several models, which prepare pictures differently: one of them was chosen."""


@dataclass(frozen=True, slots=True)
class Published:
    """A published model: its ``card``, and where its checkpoint is to be had; see the module for the other fields."""

    card: ModelCard
    file: str
    sha256: str
    bytes: int
    url: str
    variant: str
    accept: bool = False
    frame: FrameSpec | None = None
    folder: str = ""
    also: tuple[str, ...] = ()
    terms: str = ""
    beside: tuple[Mapping[str, Any], ...] = ()

    @property
    def path(self) -> Path:
        """Where the checkpoint lies once it is here."""
        return models_root() / (self.folder or self.card.name) / self.file

    @property
    def parts(self) -> tuple[Published, ...]:
        """Its files, each as if it were the only one: the checkpoint, and what it needs beside."""
        alone = replace(self, beside=())
        return (alone, *(replace(alone, also=(), **file) for file in self.beside))

    @property
    def missing(self) -> tuple[Published, ...]:
        """Those of its ``parts`` that are not here."""
        return tuple(part for part in self.parts if not part.path.is_file())

    @property
    def state(self) -> str:
        """Whether its files are here, in a word or two: "here", "not here", or what lies there in place of one."""
        return next((state for state in map(_state, self.parts) if state != "here"), "here")

    @property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of the files that are this model, the one at ``url`` first; none where nobody has published any."""
        return (self.sha256, *self.also) if self.sha256 else self.also

    @property
    def record(self) -> Family:
        """The record of its family."""
        return FAMILIES.get(family_of(self.variant))

    def made(self, module: nn.Module, card: ModelCard, device: str) -> Model:
        """Return the model that a module of its family makes, with a card, on a device."""
        record = self.record
        return record.model(module, card, self.frame or record.frame, device)

    @property
    def licence_url(self) -> str:
        """Where to read the licence."""
        return self.terms or f"https://spdx.org/licenses/{self.card.licence}.html"


def _state(part: Published) -> str:
    """Return the state of one file, as far as it is seen without reading it."""
    if part.path.is_dir():
        return "a folder"
    if not part.path.is_file():
        return "not here"
    size = part.path.stat().st_size
    if size == 0:
        return "empty"
    # Nobody has published the sizes of other files with the same weights.
    return "here" if part.also or size == (part.bytes or size) else "wrong size"


def models_root() -> Path:
    """Return the folder for checkpoints: ``$SAMARITAN_MODELS``, or the platform's own place for such data."""
    chosen = os.environ.get("SAMARITAN_MODELS")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "samaritan" / "models"


def published_names() -> list[str]:
    """Return the names of all published models that have a card here, in order."""
    return sorted(path.stem for path in CARDS.glob("*.toml"))


@cache
def published(name: str) -> Published:
    """Return a published model.

    Raises
    ------
    UnknownNameError
        If there is no card of that name.
    WeightsError
        If its card is damaged.
    """
    if name not in published_names():
        raise UnknownNameError.of(name, kind="published model", known=published_names(), listed_by=LISTED_BY)
    path = CARDS / f"{name}.toml"
    fields: dict[str, Any] = load_card(path).get("checkpoint", {})
    if "folder" in fields:
        fields = {**load_card(CARDS / f"{fields['folder']}.toml")["checkpoint"], **fields}
    frame = FrameSpec(**fields.pop("frame")) if "frame" in fields else None
    for several in ("also", "beside"):
        fields[several] = tuple(fields.get(several, ()))
    try:
        found = Published(read_card(path), **fields, frame=frame)
        found.parts  # noqa: B018 - now rather than when they are fetched
    except TypeError as error:
        raise WeightsError(
            got=f"[checkpoint] of {path.name} with fields {sorted(fields)}", wanted=str(error)
        ) from error
    return replace(found, card=replace(found.card, sha256=found.sha256))


@dataclass(frozen=True, slots=True)
class Opened:
    """A checkpoint with its weights in place: what a model is made of, or an adapter learns beside.

    ``path`` is where it was read; ``known`` the published model that it is, or is like.
    """

    path: Path
    known: Published
    card: ModelCard
    module: nn.Module

    def model(self, device: str) -> Model:
        """Return the model that it makes."""
        return self.known.made(self.module, self.card, device)


def entry(name: str) -> ModelEntry:
    """Return what the registry of models holds for a published model."""
    return ModelEntry(
        lambda: published(name).card,
        lambda device: load_published(name, device=device),
        require=lambda: _require_here(published(name), None),
    )


def load_published(name: str, *, weights: Path | None = None, device: str = "auto") -> Model:
    """Return a published model with its own weights, or with those of a file.

    Raises
    ------
    WeightsError
        If its checkpoint is not here: the error says how to get it.
    ChecksumError
        If what lies there is not the published file.
    CheckpointMismatchError
        If the file given as ``weights`` has other tensors.
    """
    _require_here(published(name), weights)
    _require_device(device)
    return open_published(name, weights=weights).model(device)


def open_published(name: str, *, weights: Path | None = None) -> Opened:
    """Return a published model's checkpoint, or a file in its place; raises as ``load_published``."""
    known = published(name)
    _require_here(known, weights)
    file = CheckpointFile.at(weights or known.path)
    if weights is None:
        require_right(known, file.sha256)
    return _opened(file.read(), known, own=weights is not None)


def load_file(path: Path, *, device: str = "auto") -> Model:
    """Return the model in a checkpoint file, recognised by its tensors.

    A file whose SHA-256 is on a card is that model, and where models share a file, the one in whose folder it lies; any
    other gets the card of its architecture.

    Warns
    -----
    AmbiguousWeightsWarning
        If the file may as well be of another published model of that architecture.

    Raises
    ------
    CheckpointMismatchError
        If it is of no known family: the error says which one it looks like, and which tensors differ.
    """
    _require_device(device)
    return open_file(path).model(device)


def open_file(path: Path) -> Opened:
    """Return a checkpoint file, recognised by its tensors; warns and raises as ``load_file``."""
    checkpoint = read_checkpoint(path)
    for name in published_as(checkpoint.sha256):
        if not published(name).folder:
            return _opened(checkpoint, published(name), own=False)
    found = recognise(checkpoint)
    if not found.difference.none:
        raise mismatch(checkpoint, found.variant, found.difference)
    if others := others_of(found.variant, for_planes=found.for_planes):
        warnings.warn(
            f"{path.name} is taken for {found.variant}, but has the tensors of {' and '.join(others)} as well, "
            f"made for other images. To say that it is: model {others[0]} with --weights {path}",
            AmbiguousWeightsWarning,
            stacklevel=2,
        )
    return _opened(checkpoint, published(found.variant), own=True)


def others_of(variant: str, *, for_planes: bool = False) -> list[str]:
    """Return the names of the published models that have a variant's tensors as well, beside that of its name.

    Models of planes only, if what there is of them is only for planes.
    """
    others = [name for name in published_names() if published(name).variant == variant and name != variant]
    return [name for name in others if not for_planes or published(name).card.dims == 2]


def published_as(sha256: str) -> list[str]:
    """Return the names of the published models that a file with this SHA-256 is."""
    return [name for name in published_names() if sha256 in published(name).hashes]


def require_right(known: Published, sha256: str) -> None:
    """Raise ``ChecksumError`` unless what lies at the path of a published model has a SHA-256 that is right for it.

    Right is what its card says; where that says nothing, what was recorded when it was fetched, if it was.
    """
    told = recorded(known.path)
    allowed = known.hashes or ((told,) if told else (sha256,))
    if sha256 not in allowed:
        raise ChecksumError(
            got=f"{known.path} with SHA-256 {sha256[:12]}…",
            wanted=f"{allowed[0][:12]}…, as {'its card says' if known.hashes else 'when it was fetched'}",
            fix="It is another file or damaged. Move it away, or replace it: "
            f"samaritan models pull {known.card.name} --force",
        )


def recorded(path: Path) -> str:
    """Return the SHA-256 that was recorded beside a checkpoint, if one was."""
    try:
        return _record_of(path).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        return ""


def record(path: Path, sha256: str) -> None:
    """Write the SHA-256 of a checkpoint beside it, as ``sha256sum`` does.

    Raises
    ------
    WriteError
        If that cannot be written.
    """
    try:
        _record_of(path).write_text(f"{sha256}  {path.name}\n", encoding="utf-8")
    except OSError as error:
        raise WriteError(
            got=f"{path} is here, but its SHA-256 cannot be kept beside it ({error.strerror})",
            fix=f"Free some space in {path.parent}, or see that you may write there, then type the same again",
        ) from error


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _require_here(known: Published, weights: Path | None) -> None:
    """Raise unless a published model's files are here, or there is one in their place."""
    if weights is None and known.missing:
        missing = known.missing[0]
        raise WeightsError(
            got=f"the checkpoint of '{known.card.name}' is not here",
            wanted=str(missing.path),
            fix=f"samaritan models pull {known.card.name}, or put {missing.file} there yourself (from {missing.url})",
        )


def _require_device(device: str) -> None:
    """Raise if a device is not there: before gigabytes are read for it."""
    try:
        from samaritan.models.planar.torch_network import torch_device  # noqa: PLC0415 - the base install has no torch
    except ImportError as error:
        raise MissingExtraError.of(what="a checkpoint", extra="torch") from error
    torch_device(device)


def _opened(checkpoint: Checkpoint, known: Published, *, own: bool) -> Opened:
    family = family_of(known.variant)
    if known.card.dims == 3:
        _require_all(checkpoint, family, known)
    module = load_module(checkpoint, family, known.variant)
    card = replace(known.card, sha256=checkpoint.sha256)
    if own and checkpoint.sha256 not in known.hashes:  # where they come from, this card does not know
        card = replace(
            card,
            title=f"{card.title}, with weights of your own",
            licence="unknown",
            commercial_use=False,
            scores={},
            training_data=("unknown",),
            base="",
            source="",
        )
    return Opened(checkpoint.path, known, card, module)


def _require_all(checkpoint: Checkpoint, family: str, known: Published) -> None:
    """Raise unless a checkpoint has more than planes need, where the model is one of volumes."""
    match = fit(checkpoint, family, known.variant)
    if match.for_planes and match.difference.none:
        raise CheckpointMismatchError(
            got=f"{checkpoint.path.name}, which is for pictures alone: "
            f"{difference_from_all(checkpoint, family, known.variant)}",
            wanted=f"all tensors of {known.card.name}, a model of volumes",
            fix=f"{known.folder or known.variant} takes this file, also for volumes, slice by slice: "
            f"--model {known.folder or known.variant} --weights {checkpoint.path}",
        )
