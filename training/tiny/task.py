"""What the `tiny` network learns: batches of prompted objects, and how wrong its masks are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from training.tiny.cases import load_views, split
from training.tiny.losses import loss_terms
from training.tiny.scenes import Sampler

from samaritan.autoprompt.simulate import Target, next_click, simulate
from samaritan.core.model import Prediction
from samaritan.core.prompts import Point, Prompts
from samaritan.models.letterbox import Letterbox
from samaritan.models.tiny import prompts as tiny_prompts
from samaritan.models.tiny.network import Embedding, Masks, TinyNetwork

Array = NDArray[Any]


class Batch(NamedTuple):
    """Images with several prompted objects each; n counts prompts, image by image."""

    images: Tensor  # (b, 3, h, w) uint8
    masks: Tensor  # (n, h, w) bool
    valid: Tensor  # (b, h, w) bool: not padding
    maps: Tensor  # (n, channels, h / 4, w / 4) float32, of the prompts
    ambiguous: Tensor  # (n,) bool: a lone click
    prompts: list[Prompts]  # n, to add corrections to


@dataclass(frozen=True)
class Plan:
    """What the batches of a run hold.

    The first half of a run sees crops of `first_side` pixels, which teaches most of what there is to learn at
    a third of the cost; the second half crops of `last_side`, the side of the windows at inference.
    """

    steps: int
    seed: int = 0
    images: int = 16
    prompts_an_image: int = 2
    first_side: int = 160
    last_side: int = 256
    correction_share: float = 0.3  # of steps whose masks, half of them, are corrected once

    def side(self, step: int) -> int:
        """Side of the crops of a step, in pixels."""
        return self.first_side if 2 * step < self.steps else self.last_side


class TinyTask:
    """The `samaritan.adapt.Task` of the `tiny` network; workers read the views from `cache` when they begin."""

    def __init__(self, plan: Plan, data: Path, cache: Path) -> None:
        self.plan, self._data, self._cache = plan, data, cache

    @cached_property
    def sampler(self) -> Sampler:
        """Source of images with objects: all families but the held-out ones."""
        cv2.setNumThreads(1)
        return Sampler(split(load_views(self._data, self._cache))[0])

    def batch(self, step: int) -> Batch:
        """Draw the samples of a step and simulate their prompts."""
        plan, side = self.plan, self.plan.side(step)
        rng = np.random.default_rng([plan.seed, step])
        samples = [self.sampler.draw(side, plan.prompts_an_image, rng) for _ in range(plan.images)]
        masks = [mask for sample in samples for mask in sample.masks]
        prompts = [simulate(Target.of_picture(mask.T), rng) for mask in masks]
        images = np.stack([sample.image for sample in samples]).astype(np.uint8)
        return Batch(
            images=torch.from_numpy(images).permute(0, 3, 1, 2),
            masks=torch.from_numpy(np.stack(masks)),
            valid=torch.from_numpy(np.stack([sample.valid for sample in samples])),
            maps=torch.from_numpy(np.stack([prompt_maps(given, None, side) for given in prompts])),
            ambiguous=torch.tensor([is_lone_click(given) for given in prompts]),
            prompts=prompts,
        )

    def losses(self, module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss of a batch; now and then with those of half the masks after one corrective click."""
        assert isinstance(module, TinyNetwork)
        prompts_an_image = len(batch.masks) // len(batch.images)
        images = batch.images.float().contiguous(memory_format=torch.channels_last)
        embedding = Embedding(*(p.repeat_interleave(prompts_an_image, dim=0) for p in module.encoder(images)))
        target = functional.avg_pool2d(batch.masks[:, None].float(), 2)
        valid = functional.avg_pool2d(batch.valid[:, None].float(), 2).repeat_interleave(prompts_an_image, dim=0)
        masks = module.decoder(embedding, batch.maps.contiguous(memory_format=torch.channels_last))
        terms = loss_terms(masks, target, valid, batch.ambiguous)
        if torch.rand(()) < self.plan.correction_share:
            chosen = torch.randperm(len(batch.masks))[: len(batch.images)]
            maps = corrected(batch, masks, chosen).to(target.device)
            at = chosen.to(target.device)
            again = module.decoder(Embedding(*(part[at] for part in embedding)), maps)
            terms["corrected"] = 0.5 * sum(
                loss_terms(again, target[at], valid[at], torch.zeros_like(batch.ambiguous[at])).values(),
                torch.zeros(()),
            ).to(target.device)
        return terms


def corrected(batch: Batch, masks: Masks, chosen: Tensor) -> Tensor:
    """Click where each of the `chosen` masks is most wrong; return their new prompt maps, with what they showed."""
    best = torch.where(batch.ambiguous, masks.predicted_iou.argmax(dim=1), 0)
    seen = masks.logits.detach().float()[torch.arange(len(best), device=best.device), best].cpu()
    side, reference = batch.masks.shape[-1], batch.masks.cpu().numpy()
    frame, maps = Letterbox.fit((side, side), side=side, multiple=side), []
    for index in chosen.tolist():
        prompts = batch.prompts[index]
        logits = frame.logits_from_frame(seen[index, None].numpy())
        shown = Prediction(logits, np.zeros(1, np.float32), prompts.geometry)
        click = next_click(reference[index].T[..., None], shown.mask, prompts.geometry)
        if click is not None and click.voxel not in {point.voxel for point in prompts.points}:
            prompts = prompts.add(click)
        maps.append(prompt_maps(prompts, shown, side))
    return torch.from_numpy(np.stack(maps)).contiguous(memory_format=torch.channels_last)


def prompt_maps(prompts: Prompts, shown: Prediction | None, side: int) -> Array:
    """Render the prompts of a square crop by the same code as at inference."""
    return tiny_prompts.maps(prompts, shown, Letterbox.fit((side, side), side=side, multiple=side))


def is_lone_click(prompts: Prompts) -> bool:
    """Whether a part as well as the whole may be meant."""
    return len(prompts.items) == 1 and isinstance(prompts.items[0], Point)
