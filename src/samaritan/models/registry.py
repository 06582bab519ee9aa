"""The registry of models, and the two ways in: ``load_model`` to run one, ``model_card`` to read about one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from samaritan.core.model import Model, ModelCard
from samaritan.core.registry import Registry
from samaritan.models.device import require_device

DEFAULT_MODEL = "tiny"
_ENDINGS = frozenset({".pth", ".pt", ".safetensors", ".ckpt", ".bin", ".tar", ".onnx", ".zip"})  # of checkpoints


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What a model registers: its card, readable without weights or runtime, and how to load it onto a device.

    ``load`` takes one of ``device.DEVICES`` and raises ``WeightsError`` or ``MissingExtraError`` if it cannot.
    ``place`` says to people where its weights are, if it has no checkpoint to fetch.
    """

    card: Callable[[], ModelCard]
    load: Callable[[str], Model]
    place: str = "built in"


MODELS: Registry[ModelEntry] = Registry("model", "samaritan.models")
MODELS.register("tiny", "samaritan.models.tiny:ENTRY")
MODELS.register("nninteractive", "samaritan.models.nninteractive:ENTRY")
MODELS.register("sam-vit-b", "samaritan.models.published:SAM_VIT_B")
MODELS.register("sam-vit-l", "samaritan.models.published:SAM_VIT_L")
MODELS.register("sam-vit-h", "samaritan.models.published:SAM_VIT_H")
MODELS.register("medsam", "samaritan.models.published:MEDSAM")
MODELS.register("mobile-sam", "samaritan.models.published:MOBILE_SAM")
MODELS.register("lite-medsam", "samaritan.models.published:LITE_MEDSAM")
MODELS.register("sam-hq-vit-b", "samaritan.models.published:SAM_HQ_VIT_B")
MODELS.register("sam-hq-vit-l", "samaritan.models.published:SAM_HQ_VIT_L")
MODELS.register("sam-hq-vit-h", "samaritan.models.published:SAM_HQ_VIT_H")
MODELS.register("sam-med2d", "samaritan.models.published:SAM_MED2D")
MODELS.register("sam-med2d-ft", "samaritan.models.published:SAM_MED2D_FT")
MODELS.register("sam2-tiny", "samaritan.models.published:SAM2_TINY")
MODELS.register("sam2-tiny-volume", "samaritan.models.published:SAM2_TINY_VOLUME")
MODELS.register("sam2-small", "samaritan.models.published:SAM2_SMALL")
MODELS.register("sam2-small-volume", "samaritan.models.published:SAM2_SMALL_VOLUME")
MODELS.register("sam2-base-plus", "samaritan.models.published:SAM2_BASE_PLUS")
MODELS.register("sam2-base-plus-volume", "samaritan.models.published:SAM2_BASE_PLUS_VOLUME")
MODELS.register("sam2-large", "samaritan.models.published:SAM2_LARGE")
MODELS.register("sam2-large-volume", "samaritan.models.published:SAM2_LARGE_VOLUME")
MODELS.register("sam2.1-tiny", "samaritan.models.published:SAM21_TINY")
MODELS.register("sam2.1-tiny-volume", "samaritan.models.published:SAM21_TINY_VOLUME")
MODELS.register("sam2.1-small", "samaritan.models.published:SAM21_SMALL")
MODELS.register("sam2.1-small-volume", "samaritan.models.published:SAM21_SMALL_VOLUME")
MODELS.register("sam2.1-base-plus", "samaritan.models.published:SAM21_BASE_PLUS")
MODELS.register("sam2.1-base-plus-volume", "samaritan.models.published:SAM21_BASE_PLUS_VOLUME")
MODELS.register("sam2.1-large", "samaritan.models.published:SAM21_LARGE")
MODELS.register("sam2.1-large-volume", "samaritan.models.published:SAM21_LARGE_VOLUME")
MODELS.register("medsam2", "samaritan.models.published:MEDSAM2")
MODELS.register("medsam2-volume", "samaritan.models.published:MEDSAM2_VOLUME")
MODELS.register("sam-med3d-turbo", "samaritan.models.published:SAM_MED3D_TURBO")


def load_model(name: str | None = None, *, weights: Path | None = None, device: str = "auto") -> Model:
    """Return a model that is ready to ``embed``.

    Parameters
    ----------
    name
        A name in ``MODELS``; the path of a checkpoint, which is recognised by its tensors, or of a bundle that
        ``samaritan export`` wrote; None for the default one.
    weights
        A checkpoint to be used in place of the published one of ``name``, prepared for and carded as that.
    device
        "auto" (the fastest that is there), "cpu", "cuda" or "mps".

    Raises
    ------
    UnknownNameError
        If there is no such model or device.
    MissingExtraError
        If the runtime for the device is not installed.
    WeightsError
        If the weights are missing, are not those of the card (``ChecksumError``), or are no checkpoint of a known
        family (``CheckpointMismatchError``).
    """
    require_device(device)
    if name not in MODELS and _is_path(name):
        return _load_path(Path(str(name)), device)
    entry = MODELS.get(name or DEFAULT_MODEL)
    if weights is not None:
        from samaritan.models.published import load_published  # noqa: PLC0415 - as above

        return load_published(str(name), weights=weights, device=device)
    return entry.load(device)


def _load_path(path: Path, device: str) -> Model:
    from samaritan.models.bundle import is_bundle, load_bundle  # noqa: PLC0415 - it imports a runtime
    from samaritan.models.published import load_file  # noqa: PLC0415 - it knows this module

    return load_bundle(path, device=device) if is_bundle(path) else load_file(path, device=device)


def _is_path(name: str | None) -> bool:
    """Whether what was given for a model's name is meant as a file: it exists, or has a folder or an ending in it.

    Not any ending: names of models have dots as well.
    """
    return name is not None and (Path(name).name != name or Path(name).exists() or Path(name).suffix in _ENDINGS)


def model_card(name: str | None = None) -> ModelCard:
    """Return the card of a model (None: the default one) without loading its weights.

    Raises
    ------
    UnknownNameError
        If there is no such model.
    """
    return MODELS.get(name or DEFAULT_MODEL).card()
