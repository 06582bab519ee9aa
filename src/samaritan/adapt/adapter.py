"""An adapter: what a network has learnt, in a file of its own, with a card that says of which base it is.

::

    RUN/adapter.safetensors    what was learnt
    RUN/adapter.json           the base and its hash, the method, what it was taught on, how good it is

The card has no name of a case or patient: of the data it has a hash, counts and labels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from samaritan.adapt.base import Base, base_of
from samaritan.adapt.kind import KINDS, Kind, prepared
from samaritan.adapt.learnt import put
from samaritan.adapt.methods import settings_of
from samaritan.core.errors import CheckpointMismatchError, ChecksumError, WeightsError
from samaritan.core.model import Model, ModelCard
from samaritan.data import Case
from samaritan.io.atomic import atomic_path
from samaritan.models.checkpoint import sha256_of
from samaritan.models.planar.torch_network import torch_device
from samaritan.models.registry import ModelFolder

WEIGHTS, CARD = "adapter.safetensors", "adapter.json"
_VERSION = 1
_MOST_BYTES = 1 << 20  # of a card


@dataclass(frozen=True, slots=True)
class AdapterCard:
    """What an adapter is.

    Parameters
    ----------
    name
        What the adapted model is called.
    base, base_sha256, base_file
        Name of the model that it adapts, hash of that one's weights, and where they lay; "" if it is built in.
    method, settings
        How; see ``samaritan.adapt.methods``.
    task, recipe
        What for, and its settings; see ``samaritan.adapt.kind``.
    labels
        What was taught.
    data
        Hash of the training cases, and how many cases and patients they were.
    licence
        The base's: what was made of it has it, too.
    sha256
        Of what was learnt, ``adapter.safetensors``: so that nobody takes one adapter's embeddings for another's.
    sizes
        Parameters that learnt, and of all: ``learning`` and ``parameters``.
    metrics
        Scores on cases that were not trained on, before and after.
    made_with
        Versions.
    """

    name: str
    base: str
    base_sha256: str
    method: str
    settings: Mapping[str, Any]
    task: str
    labels: tuple[str, ...]
    data: Mapping[str, Any]
    licence: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    base_file: str = ""
    sha256: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    made_with: Mapping[str, str] = field(default_factory=dict)
    version: int = _VERSION

    @property
    def kind(self) -> Kind:
        """What it is for.

        Raises
        ------
        UnknownNameError
            If that is no task that is known here.
        WeightsError
            If its settings are none.
        """
        try:
            return KINDS.get(self.task)(**self.recipe)
        except (TypeError, ValueError) as error:
            raise WeightsError(got=f"a card of an adapter with settings {dict(self.recipe)} of {self.task}") from error

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the card in a folder.

        Raises
        ------
        WeightsError
            If there is none, or it is damaged or of a later version.
        """
        path = folder / CARD
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ValueError
            told = json.loads(path.read_text(encoding="utf-8"))
            card = cls(**(told | {"labels": tuple(told["labels"])}))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise WeightsError(
                got=f"{path}, which is no card of an adapter", wanted="what samaritan adapt writes"
            ) from error
        if card.version > _VERSION:
            raise WeightsError(
                got=f"an adapter of version {card.version}",
                wanted=f"{_VERSION} at most",
                fix="pip install -U samaritan",
            )
        return card


def save_adapter(folder: Path, card: AdapterCard, learnt: Mapping[str, Tensor]) -> AdapterCard:
    """Write an adapter into a folder, and return its card with the hash of its weights.

    Weights first, so that a card always has its weights.
    """
    content = save(dict(learnt))
    made = replace(card, sha256=hashlib.sha256(content).hexdigest())
    with atomic_path(folder / WEIGHTS) as staged:
        staged.write_bytes(content)  # save_file would let nobody else read it
    write_card(folder, made)
    return made


def write_card(folder: Path, card: AdapterCard) -> None:
    """Write the card of an adapter whose weights are there."""
    with atomic_path(folder / CARD) as staged:
        staged.write_text(json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def adapted(folder: Path) -> tuple[nn.Module, Base, AdapterCard]:
    """Return the network that an adapter makes of its base, the base, and the card.

    Raises
    ------
    CheckpointMismatchError
        If the base that is here has other weights than the adapter's.
    ChecksumError
        If what was learnt is not what the card is of.
    WeightsError
        If a file is missing or damaged.
    """
    card = AdapterCard.read(folder)
    base = _base(card)
    if base.sha256 != card.base_sha256:
        raise CheckpointMismatchError(
            got=f"an adapter of {card.base} with weights {card.base_sha256[:12]}…",
            wanted=f"the weights of {card.base} here, {base.sha256[:12]}…",
            fix="Adapt anew, or install the version of Samaritan that it was made with",
        )
    try:
        learnt = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise WeightsError(got=f"{folder / WEIGHTS}, which is missing or damaged") from error
    if (found := sha256_of(folder / WEIGHTS)) != card.sha256:
        raise ChecksumError(
            got=f"{folder / WEIGHTS} with SHA-256 {found[:12]}…",
            wanted=f"{card.sha256[:12]}…, as its card says" if card.sha256 else "a card that says it, of this version",
            fix="Take both files of one adapter, or the same line of samaritan adapt again",
        )
    network, _ = prepared(card.kind, base, settings_of(card.method, card.settings))
    put(learnt, network)
    return network.eval(), base, card


def load_adapted(folder: Path, device: str) -> Model:
    """Return the model that an adapter makes of its base, on one of ``samaritan.models.device.DEVICES``.

    Raises
    ------
    WeightsError
        As ``adapted``.
    """
    network, base, card = adapted(folder)
    return card.kind.model(base, network.to(torch_device(device)), _model_card(base, card))


def card_of(folder: Path) -> ModelCard:
    """Return the card of the model that an adapter makes, without loading weights.

    Raises
    ------
    WeightsError
        As ``AdapterCard.read``.
    """
    card = AdapterCard.read(folder)
    return _model_card(_base(card), card)


def _base(card: AdapterCard) -> Base:
    """Return the base that a card names: from where its weights lay, or where published ones lie here."""
    file = Path(card.base_file) if card.base_file else None
    return base_of(card.base, weights=file if file is not None and file.is_file() else None)


FOLDER = ModelFolder(card_of, load_adapted)


def _model_card(base: Base, card: AdapterCard) -> ModelCard:
    """Return the card of an adapted model: the base's, with its licence, under another name."""
    title = f"{base.card.name}, adapted by {card.method} to {', '.join(card.labels)}"
    source = f"adapted from {base.card.name}"
    return replace(
        card.kind.card(base.card),
        name=card.name,
        sha256=card.sha256,
        title=title,
        base=base.card.name,
        source=source,
        scores=card.metrics,
    )


def settings_dict(settings: Any) -> dict[str, Any]:  # noqa: ANN401 - a method or a kind, which are dataclasses
    """Return settings by name, as a card has them."""
    return asdict(settings)


def fingerprint(cases: Iterable[Case]) -> dict[str, Any]:
    """Return what tells a set of cases from another without naming any: a hash of their names, and counts."""
    listed = sorted(cases, key=lambda case: case.id)
    digest = hashlib.sha256("\n".join(case.id for case in listed).encode()).hexdigest()
    return {"sha256": digest, "cases": len(listed), "patients": len({case.subject for case in listed})}
