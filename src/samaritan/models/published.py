"""Models that others published: a card each, and a checkpoint that the user fetches or has.

A card is a TOML file in ``cards``. Beside the fields of ``ModelCard`` it has a table::

    [checkpoint]
    file = "sam_vit_b_01ec64.pth"       # its name at its source, and in our folder
    sha256 = "ec2d..."                  # "" where nobody has published it: then the first download settles it
    bytes = 375042383
    url = "https://..."
    variant = "sam-vit-b"               # of the family: what its tensors must be
    accept = true                       # whether the licence has to be accepted first
    [checkpoint.frame]                  # where pictures are prepared otherwise than the family's: FrameSpec's fields
    fit = "stretch"
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from samaritan.core.errors import ChecksumError, UnknownNameError, WeightsError
from samaritan.core.model import Model, ModelCard
from samaritan.models.card import load_card, read_card
from samaritan.models.checkpoint import Checkpoint, read_checkpoint
from samaritan.models.family import FAMILIES, family_of, load_module, mismatch, recognise
from samaritan.models.planar.frame import FrameSpec
from samaritan.models.registry import ModelEntry

_CARDS = Path(__file__).parent / "cards"


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

    @property
    def path(self) -> Path:
        """Where the checkpoint lies once it is here."""
        return models_root() / self.card.name / self.file


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


def published_names() -> Iterator[str]:
    """Return the names of all published models that have a card here."""
    return (path.stem for path in sorted(_CARDS.glob("*.toml")))


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
        raise UnknownNameError.of(name, kind="published model", known=published_names())
    path = _CARDS / f"{name}.toml"
    fields: dict[str, Any] = load_card(path).get("checkpoint", {})
    frame = FrameSpec(**fields.pop("frame")) if "frame" in fields else None
    try:
        found = Published(read_card(path), **fields, frame=frame)
    except TypeError as error:
        raise WeightsError(
            got=f"[checkpoint] of {path.name} with fields {sorted(fields)}", wanted=str(error)
        ) from error
    return replace(found, card=replace(found.card, sha256=found.sha256))


def entry(name: str) -> ModelEntry:
    """Return what the registry of models holds for a published model."""
    return ModelEntry(lambda: published(name).card, lambda device: load_published(name, device=device))


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
    known = published(name)
    if weights is None and not known.path.is_file():
        raise WeightsError(
            got=f"the checkpoint of '{name}' is not here",
            wanted=str(known.path),
            fix=f"samaritan models pull {name}, or put {known.file} there yourself (from {known.url})",
        )
    checkpoint = read_checkpoint(weights or known.path)
    if weights is None and known.sha256 and checkpoint.sha256 != known.sha256:
        raise ChecksumError(
            got=f"{known.file} with SHA-256 {checkpoint.sha256[:12]}…",
            wanted=f"{known.sha256[:12]}… as its card says",
            fix=f"It is another file or damaged; remove {known.path} and type: samaritan models pull {name}",
        )
    return _model(checkpoint, known, device)


def load_file(path: Path, *, device: str = "auto") -> Model:
    """Return the model in a checkpoint file, recognised by its tensors.

    A file whose SHA-256 is on a card is that model; any other gets the card of its architecture.

    Raises
    ------
    CheckpointMismatchError
        If it is of no known family: the error says which one it looks like, and which tensors differ.
    """
    checkpoint = read_checkpoint(path)
    for name in published_names():
        if published(name).sha256 == checkpoint.sha256:
            return _model(checkpoint, published(name), device)
    found = recognise(checkpoint)
    if not found.difference.none:
        raise mismatch(checkpoint, found.variant, found.difference)
    return _model(checkpoint, published(found.variant), device)


def _model(checkpoint: Checkpoint, known: Published, device: str) -> Model:
    family = family_of(known.variant)
    module = load_module(checkpoint, family, known.variant)
    card = known.card
    if checkpoint.sha256 != known.sha256:  # somebody else's weights: their data and scores are not on this card
        title = f"{known.card.title}, with weights of your own"
        card = replace(card, title=title, sha256=checkpoint.sha256, scores={}, training_data=("unknown",))
    record = FAMILIES.get(family)
    return record.model(module, card, known.frame or record.frame, device)


SAM_VIT_B = entry("sam-vit-b")
SAM_VIT_L = entry("sam-vit-l")
SAM_VIT_H = entry("sam-vit-h")
MEDSAM = entry("medsam")
MOBILE_SAM = entry("mobile-sam")
LITE_MEDSAM = entry("lite-medsam")
