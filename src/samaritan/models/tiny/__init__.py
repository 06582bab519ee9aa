"""The default model: a network that sees windows and prompts together, ships in the package, runs on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

from samaritan.core.model import Model, ModelCard
from samaritan.models.card import read_card
from samaritan.models.registry import ModelEntry

FOLDER = Path(__file__).parent


def _card() -> ModelCard:
    return read_card(FOLDER / "card.toml")


def _load(device: str) -> Model:
    from samaritan.models.tiny.adapter import TinyModel  # noqa: PLC0415 - imports the runtime

    return TinyModel(FOLDER, device=device)


ENTRY = ModelEntry(_card, _load)
