"""SAM-Med3D (Wang et al. 2023): Segment Anything in three dimensions, in windows of 128 cubes of 1.5 mm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import nn

from samaritan.core.model import Model, ModelCard
from samaritan.models.family import Family
from samaritan.models.planar import FrameSpec
from samaritan.models.sam_med3d.adapter import SamMed3DModel
from samaritan.models.sam_med3d.network import SamMed3D, Size
from samaritan.models.sam_med3d.torch_network import TorchNetwork


def _turbo() -> nn.Module:
    return SamMed3D(Size())


def _as_published(tensors: Mapping[str, object]) -> dict[str, object]:
    return dict(tensors)


def _model(module: nn.Module, card: ModelCard, frame: FrameSpec | None, device: str) -> Model:  # noqa: ARG001 - of planes
    return SamMed3DModel(card, TorchNetwork(cast("SamMed3D", module), device))


FAMILY = Family(
    title="Segment Anything in three dimensions",
    variants={"sam-med3d-turbo": _turbo},
    rename=_as_published,
    model=_model,
)
