"""The registry of models, and the two ways in: ``load_model`` to run one, ``model_card`` to read about one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from samaritan.core.errors import MissingExtraError, UnknownNameError
from samaritan.core.model import Model, ModelCard
from samaritan.core.registry import Registry
from samaritan.models.device import require_device

DEFAULT_MODEL = "tiny"
CARDS = Path(__file__).parent / "cards"  # of models that others published
ENDINGS = frozenset({".pth", ".pt", ".safetensors", ".ckpt", ".bin", ".tar", ".onnx", ".zip"})  # of checkpoints


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What a model registers: its card, readable without weights or runtime, and how to load it onto a device.

    ``load`` takes one of ``device.DEVICES`` and raises ``WeightsError`` or ``MissingExtraError`` if it cannot.
    ``place`` says to people where its weights are, if it has no checkpoint to fetch. ``require`` raises what ``load``
    would if the weights are seen not to be there; it loads nothing.
    """

    card: Callable[[], ModelCard]
    load: Callable[[str], Model]
    place: str = "built in"
    require: Callable[[], None] = lambda: None


LISTED_BY = "samaritan models"
MODELS: Registry[ModelEntry] = Registry("model", "samaritan.models", listed_by=LISTED_BY)
MODELS.register("tiny", "samaritan.models.tiny:ENTRY")
MODELS.register("nninteractive", "samaritan.models.nninteractive:ENTRY")
for _name in ("ellipse", "otsu", "grabcut", "random-walker", "geodesic"):
    MODELS.register(_name, f"samaritan.models.classical:{_name.replace('-', '_').upper()}")
for _card in CARDS.glob("*.toml"):
    MODELS.register(_card.stem, f"samaritan.models.entries:{_card.stem}")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A kind of folder that a model is made of: how to read its card, and to load it onto a device."""

    card: Callable[[Path], ModelCard]
    load: Callable[[Path, str], Model]


# By the file that tells it.
FOLDERS: Registry[ModelFolder] = Registry("kind of model folder", "samaritan.model_folders")
FOLDERS.register("adapter.json", "samaritan.adapt.adapter:FOLDER")


def load_model(name: str | None = None, *, weights: Path | None = None, device: str = "auto") -> Model:
    """Return a model that is ready to ``embed``.

    Parameters
    ----------
    name
        A name in ``MODELS``; the path of a checkpoint, which is recognised by its tensors, or of a folder that
        ``samaritan export`` or ``samaritan adapt`` wrote; None for the default one.
    weights
        A checkpoint to be used in place of the published one of ``name``, prepared for and carded as that.
    device
        "auto" (the fastest that is there), "cpu", "cuda" or "mps".

    Warns
    -----
    AmbiguousWeightsWarning
        If a checkpoint may as well be of another published model, which prepares pictures differently.

    Raises
    ------
    UnknownNameError
        If there is no such model or device, or ``weights`` are given for one that is not published.
    MissingExtraError
        If the runtime for the device is not installed.
    WeightsError
        If the weights are missing, are not those of the card (``ChecksumError``), or are no checkpoint of a known
        family (``CheckpointMismatchError``).
    """
    require_device(device)
    if weights is not None:
        return _load_weights(weights, name or DEFAULT_MODEL, device)
    if (path := path_of(name)) is not None:
        return _load_path(path, device)
    return MODELS.get(name or DEFAULT_MODEL).load(device)


def _load_weights(weights: Path, name: str, device: str) -> Model:
    from samaritan.models.published import load_published, published_names  # noqa: PLC0415 - it knows this module

    if name not in published_names():
        if path_of(name) is None:
            MODELS.get(name)  # that there is none of this name comes first
        raise UnknownNameError(
            got=f"weights {weights} in place of those of {name}",
            wanted="the name of a published model that they are for, such as sam-vit-b",
            fix=f"To have it found out, leave that out: --model {weights}",
        )
    return load_published(name, weights=weights, device=device)


def _load_path(path: Path, device: str) -> Model:
    from samaritan.models.bundle import is_bundle, load_bundle  # noqa: PLC0415 - it imports a runtime
    from samaritan.models.published import load_file  # noqa: PLC0415 - it knows this module

    if (kind := _kind_of(path)) is not None:
        return kind.load(path, device)
    return load_bundle(path, device=device) if is_bundle(path) else load_file(path, device=device)


def path_of(name: str | None) -> Path | None:
    """Return what was given for a model's name as a path if it is meant so: it exists, or has a folder or an ending.

    Not any ending: names of models have dots as well.
    """
    if name is None or name in MODELS:
        return None
    path = Path(name)
    return path if path.name != name or path.exists() or path.suffix in ENDINGS else None


def model_card(name: str | None = None) -> ModelCard:
    """Return the card of a model (None: the default one), or of a bundle, without loading its weights.

    Raises
    ------
    UnknownNameError
        If there is no such model.
    WeightsError
        If the card of a bundle is damaged.
    """
    if (path := path_of(name)) is not None:
        return _card_of(path)
    return MODELS.get(name or DEFAULT_MODEL).card()


def _card_of(path: Path) -> ModelCard:
    from samaritan.models.bundle import CARD, is_bundle  # noqa: PLC0415 - it imports a runtime
    from samaritan.models.card import read_card  # noqa: PLC0415 - few cards are of bundles

    if (kind := _kind_of(path)) is not None:
        return kind.card(path)
    if not is_bundle(path):
        raise UnknownNameError(
            got=f"no card of {path}",
            wanted=f"a name in `{LISTED_BY}`, or a folder that samaritan export or samaritan adapt wrote",
            fix=f"To see what is in a file: samaritan models inspect {path}",
        )
    return read_card(path / CARD)


def _kind_of(path: Path) -> ModelFolder | None:
    """Return what kind of folder a path is, by the files in it; None if it is none of them.

    Raises
    ------
    MissingExtraError
        If what loads it is not installed.
    """
    mark = mark_of(path)
    if mark is None:
        return None
    try:
        return FOLDERS.get(mark)
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(what=f"a model with {mark}", extra="adapt") from error


def mark_of(path: Path) -> str | None:
    """Return the file that tells what kind of folder a path is, one of ``FOLDERS``; None if it is none of them."""
    return next((name for name in FOLDERS if (path / name).is_file()), None)
