"""The card of a model that runs elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from samaritan.core.model import ModelCard
from samaritan.models.card import read_card

_FILE = Path(__file__).parent / "card.toml"
# There are no weights here to take the hash of, and the server does not tell those of its own. What caches keep under
# the hash is the embedding, which is nothing but the voxels as they are sent, whichever weights will see them. So it is
# the way that these are prepared which the hash stands for; count on when `embed` does it another way.
_PREPARED = "samaritan.models.nninteractive: voxels prepared for sending, version 1"


def remote_card() -> ModelCard:
    """Return the card as it is before a server has told what it runs."""
    return replace(read_card(_FILE), sha256=hashlib.sha256(_PREPARED.encode()).hexdigest())
