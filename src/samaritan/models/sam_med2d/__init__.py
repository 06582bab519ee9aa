"""SAM-Med2D (Cheng et al. 2023): Segment Anything ViT-B at 256 pixels, trained on 4.6 million medical pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import cast

import torch
from torch import nn
from transformers import SamModel

from samaritan.models import sam
from samaritan.models.family import Family
from samaritan.models.planar import FrameSpec, maker
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.sam.keys import to_transformers
from samaritan.models.sam_med2d.adapter import MlpBesideAdapter
from samaritan.models.sam_med2d.decoder import Med2dDecoder

_SIDE = 256
_ADAPTER = re.compile(r"^image_encoder\.blocks\.(\d+)\.Adapter\.")
_MLP = re.compile(r"^(vision_encoder\.layers\.\d+\.mlp\.)(lin[12]\.)")


def build(width: int, depth: int, heads: int, *, adapters: bool, side: int = _SIDE) -> SamModel:
    """Return Segment Anything for pictures of ``side`` pixels, with or without adapters in its encoder's blocks."""
    model = sam.build(width, depth, heads, side=side)
    for layer in model.vision_encoder.layers:
        if adapters:
            layer.mlp = MlpBesideAdapter(cast("nn.Module", layer.mlp), width)
    return model


def rename(tensors: Mapping[str, object]) -> dict[str, object]:
    """Return a checkpoint's tensors by the names of what ``build`` makes."""
    adapted = {_ADAPTER.sub(r"vision_encoder.layers.\1.mlp.adapter.", name): value for name, value in tensors.items()}
    renamed = to_transformers(adapted)
    if not any(".mlp.adapter." in name for name in renamed):
        return renamed
    return {_MLP.sub(r"\1mlp.\2", name): value for name, value in renamed.items()}


def network(module: nn.Module, device: str) -> TorchNetwork:
    """Return the network of what ``build`` makes, on a device."""
    model = cast("SamModel", module)
    channels, cells = model.prompt_encoder.hidden_size, model.prompt_encoder.image_embedding_size[0]
    return TorchNetwork(
        # Adapters convolve what lies with its channels last: weights laid out alike save a fifth of the time.
        sam.SamEncoder(model).to(memory_format=torch.channels_last),  # type: ignore[call-overload]  # not in the stubs
        Med2dDecoder(model),
        shapes={"embedding": (1, channels, cells, cells)},
        mask_side=4 * cells,
        device=device,
    )


# DataLoader.py and utils.py: pictures are as OpenCV reads them, blue first; small ones lie in the middle, of others the
# nearest pixels are taken.
_FRAME = FrameSpec(_SIDE, fit="centre", filter="nearest", colours="bgr")
FAMILY = Family(
    title="Segment Anything for medical pictures of 256 pixels, with or without adapters in the encoder",
    variants={
        "sam-med2d": partial(build, *sam.SIZES["vit-b"], adapters=True),
        "sam-med2d-ft": partial(build, *sam.SIZES["vit-b"], adapters=False),
    },
    rename=rename,
    model=maker(network),
    frame=_FRAME,
    anatomy=sam.ANATOMY,
)
