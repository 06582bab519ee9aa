"""SAM 3 (Carion et al. 2025): a tracker that is asked as SAM 2 is, and a detector of concepts, on one backbone.

A file holds both: which of them is run, the card says.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

from torch import nn
from transformers import Sam2VideoModel, Sam3Config, Sam3Model, Sam3TrackerConfig, Sam3TrackerModel

from samaritan.core.model import ModelCard
from samaritan.models.family import Family
from samaritan.models.planar import FrameSpec, maker
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.sam2.decoder import Sam2Decoder, Sam2Encoder
from samaritan.models.sam3.concept import ConceptModel
from samaritan.models.sam3.detector import ConceptNetwork, Detector
from samaritan.models.sam3.keys import to_detector, to_tracker
from samaritan.models.sam3.words import Words


def build_tracker(config: Sam3TrackerConfig | None = None) -> Sam3TrackerModel:
    """Return transformers' tracker for pictures, of the size that Meta published unless told otherwise."""
    return Sam3TrackerModel(config or Sam3TrackerConfig())


def build_detector(config: Sam3Config | None = None) -> Detector:
    """Return the detector of concepts, of the size that Meta published unless told otherwise."""
    return Detector(Sam3Model(config or Sam3Config()))


def tracker(module: nn.Module, device: str) -> TorchNetwork:
    """Return the network of a ``Sam3TrackerModel`` on a device: behind its backbone it is SAM 2's.

    What says that nothing is remembered of other frames is added to the embedding, as Meta's predictor does. The
    forward pass of transformers' model (5.24) adds it to a coarser map, which is then left out.
    """
    model, like = cast("Sam3TrackerModel", module), cast("Sam2VideoModel", module)
    width, (fine, middle, coarse) = model.hidden_dim, model.backbone_feature_sizes
    return TorchNetwork(
        Sam2Encoder(like, alone=True),
        Sam2Decoder(like, side=cast("int", model.prompt_encoder.input_image_size)),
        shapes={
            "embedding": (1, width, *coarse),
            "middle": (1, math.prod(middle), width // 4),
            "fine": (1, math.prod(fine), width // 8),
        },
        mask_side=fine[0],
        pads_boxes=True,
        device=device,
    )


def _read_words(module: nn.Module, folder: Path) -> None:
    detector = cast("Detector", module)
    detector.words = Words.read(folder, most=detector.text_encoder.config.vocab_size)


def _concept(module: nn.Module, card: ModelCard, frame: FrameSpec | None, device: str) -> ConceptModel:
    detector = cast("Detector", module)
    assert detector.words is not None  # noqa: S101 - they were read with the tensors
    assert frame is not None  # noqa: S101 - the family has one
    return ConceptModel(card, ConceptNetwork(detector, device=device), frame, detector.words)


_FRAME = FrameSpec(1008, fit="stretch", values="signed")
TRACKER = Family(
    title="Segment Anything 3: objects by points, boxes and masks",
    variants={"sam3": build_tracker},
    rename=to_tracker,
    model=maker(tracker),
    frame=_FRAME,
)
CONCEPT = Family(
    title="Segment Anything 3: all of a kind, by words and examples",
    variants={"sam3-concept": build_detector},
    rename=to_detector,
    model=_concept,
    complete=_read_words,
    frame=_FRAME,
)
