"""The registry of models, and the two ways in: ``load_model`` to run one, ``model_card`` to read about one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from samaritan.core.model import Model, ModelCard
from samaritan.core.registry import Registry
from samaritan.models.device import require_device

DEFAULT_MODEL = "tiny"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What a model registers: its card, readable without weights or runtime, and how to load it onto a device.

    ``load`` takes one of ``device.DEVICES`` and raises ``WeightsError`` or ``MissingExtraError`` if it cannot.
    """

    card: Callable[[], ModelCard]
    load: Callable[[str], Model]


MODELS: Registry[ModelEntry] = Registry("model", "samaritan.models")
MODELS.register("tiny", "samaritan.models.tiny:ENTRY")


def load_model(name: str | None = None, *, device: str = "auto") -> Model:
    """Return a model that is ready to ``embed``.

    Parameters
    ----------
    name
        A name in ``MODELS``; None for the default one.
    device
        "auto" (the fastest that is there), "cpu", "cuda" or "mps".

    Raises
    ------
    UnknownNameError
        If there is no such model or device.
    MissingExtraError
        If the runtime for the device is not installed.
    WeightsError
        If the weights are missing, or are not those of the card (``ChecksumError``).
    """
    entry = MODELS.get(name or DEFAULT_MODEL)
    require_device(device)
    return entry.load(device)


def model_card(name: str | None = None) -> ModelCard:
    """Return the card of a model (None: the default one) without loading its weights.

    Raises
    ------
    UnknownNameError
        If there is no such model.
    """
    return MODELS.get(name or DEFAULT_MODEL).card()
