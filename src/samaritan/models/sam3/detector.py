"""SAM 3's detector of concepts as plain modules, from transformers' parts.

transformers' own forward pass asks torchvision for what lies in a box.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from transformers import Sam3Model

from samaritan.models.planar.network import Features, Floats
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.sam3.exemplars import Exemplars
from samaritan.models.sam3.question import Question
from samaritan.models.sam3.words import Words

Maps = tuple[Tensor, Tensor, Tensor]


class Detector(nn.Module):
    """From a picture's maps and what is asked to all that may be meant.

    Takes over the parts of transformers' model under their names.

    Parameters
    ----------
    model
        Of transformers.
    """

    words: Words | None = None  # what lies beside the tensors: see the family's ``complete``

    def __init__(self, model: Sam3Model) -> None:
        super().__init__()
        self.vision_encoder = model.vision_encoder
        self.text_encoder, self.text_projection = model.text_encoder, model.text_projection
        self.geometry_encoder = Exemplars(model.geometry_encoder)
        self.detr_encoder, self.detr_decoder = model.detr_encoder, model.detr_decoder
        self.mask_decoder, self.dot_product_scoring = model.mask_decoder, model.dot_product_scoring

    def forward(
        self, coarse: Tensor, middle: Tensor, fine: Tensor, numbers: Tensor, boxes: Tensor, signs: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the logits (q, rows, columns) over the frame of q candidates, and their scores (q,) in [0, 1].

        ``numbers`` are (1, n), those of a phrase; see ``Exemplars`` for ``boxes`` and ``signs``, of which there may be
        none. A score is how well a candidate matches what is asked, times how likely that is there at all.
        """
        places = self.vision_encoder.neck.position_encoding(coarse.shape, coarse.device, coarse.dtype)
        asked = self.text_projection(self.text_encoder(input_ids=numbers).last_hidden_state)
        if len(boxes):
            asked = torch.cat([asked, self.geometry_encoder(coarse, places, boxes, signs)], dim=1)
        seen = self.detr_encoder(vision_features=[coarse], text_features=asked, vision_pos_embeds=[places])
        found = self.detr_decoder(
            vision_features=seen.last_hidden_state,
            text_features=asked,
            vision_pos_encoding=seen.pos_embeds_flattened,
            spatial_shapes=seen.spatial_shapes,
        )
        candidates = found.intermediate_hidden_states[-1]
        matches = self.dot_product_scoring(decoder_hidden_states=candidates[None], text_features=asked)
        masks = self.mask_decoder(
            decoder_queries=candidates,
            backbone_features=[fine, middle, coarse],
            encoder_hidden_states=seen.last_hidden_state,
            prompt_features=asked,
        )
        scores = matches[0, 0, :, 0].sigmoid() * found.presence_logits[-1, 0].sigmoid()
        return masks.pred_masks[0], scores


class DetectorEncoder(nn.Module):
    """The vision encoder as a plain module: (n, 3, side, side) to maps of 256 channels.

    They have a cell for 14, 7 and 3.5 pixels of the frame, and are given in this order.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.vision_encoder = detector.vision_encoder

    def forward(self, picture: Tensor) -> Maps:
        """Return the maps, coarse to fine."""
        fine, middle, coarse = self.vision_encoder(picture).fpn_hidden_states[:3]  # the fourth is for nobody
        return coarse, middle, fine


class ConceptNetwork(TorchNetwork):
    """The detector on a device: it encodes as other networks do, and is asked by ``detect``.

    Parameters
    ----------
    detector
        With its weights.
    device
        One of ``DEVICES``.
    """

    def __init__(self, detector: Detector, *, device: str = "auto") -> None:
        vision = detector.vision_encoder.config
        names = ("fine", "middle", "coarse")
        sizes = dict(zip(names, cast("list[list[int]]", vision.backbone_feature_sizes), strict=True))
        super().__init__(
            DetectorEncoder(detector),
            detector,
            shapes={name: (1, vision.fpn_hidden_size, *sizes[name]) for name in reversed(names)},
            mask_side=sizes["fine"][0],
            device=device,
        )

    @torch.inference_mode()
    def detect(self, features: Features, question: Question) -> tuple[Floats, Floats]:
        """Return logits (q, rows, columns) of all candidates and their scores (q,); see ``Detector``."""
        logits, scores = self.decoder(
            *(cast("Tensor", features[name]) for name in self.spec.shapes),
            self._tensor(question.numbers)[None],
            self._tensor(question.boxes),
            self._tensor(question.signs),
        )
        return logits.float().cpu().numpy(), scores.float().cpu().numpy()
