"""Teaching the default model's network by prompts: batches of prompted objects, and how wrong its masks are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from samaritan.adapt import losses
from samaritan.adapt.prompted.crops import Sample
from samaritan.autoprompt.simulate import Target, next_click, simulate
from samaritan.core.model import Prediction
from samaritan.core.prompts import Point, Prompts
from samaritan.models.letterbox import Letterbox
from samaritan.models.tiny import prompts as tiny_prompts
from samaritan.models.tiny.network import Masks

Array = NDArray[Any]

MOST_ROUNDS = 8  # of corrections
IOU_WEIGHT = 0.5


class Batch(NamedTuple):
    """Crops, each with one prompted object."""

    images: Tensor  # (n, 3, h, w) uint8
    masks: Tensor  # (n, h, w) bool
    valid: Tensor  # (n, h, w) bool: not padding
    maps: Tensor  # (n, channels, h / 4, w / 4) float32, of the prompts
    ambiguous: Tensor  # (n,) bool: a lone click
    prompts: list[Prompts]  # n, to add corrections to


@dataclass(frozen=True)
class Plan:
    """What the batches of a run hold.

    A run begins on small crops, which teach most of what there is to learn at a fraction of the cost, and ends on crops
    of the side that windows have at inference.
    """

    steps: int
    seed: int = 0
    images: int = 24
    sides: tuple[int, ...] = (128, 192)  # of the crops, in pixels, one stage after the other
    stages: tuple[float, ...] = (0.5, 1.0)  # when each stage ends, as a fraction of the run
    correction_share: float = 0.5  # of steps in which half of the masks are corrected, in one round or more
    another_round: float = 0.65  # chance that one more round of corrections follows
    no_click_share: float = 0.25  # of corrections that add no click: a second, closer look at the same prompts

    def side(self, step: int) -> int:
        """Side of the crops of a step, in pixels."""
        return self.sides[sum(step >= end * self.steps for end in self.stages[: len(self.sides) - 1])]


class Sampler(Protocol):
    """Where samples come from."""

    def draw(self, size: int, rng: np.random.Generator) -> Sample:
        """Draw one of ``size`` x ``size`` pixels."""
        ...


class PromptedTask:
    """The ``samaritan.adapt.Task`` of the default model's network.

    ``make_sampler`` is called when the first sample is wanted, in each process that makes batches: it travels there.
    """

    def __init__(self, plan: Plan, make_sampler: Callable[[], Sampler]) -> None:
        self.plan, self._make_sampler = plan, make_sampler

    @cached_property
    def sampler(self) -> Sampler:
        """Source of crops."""
        cv2.setNumThreads(1)
        return self._make_sampler()

    def batch(self, step: int) -> Batch:
        """Draw the samples of a step and simulate their prompts."""
        side = self.plan.side(step)
        rng = np.random.default_rng([self.plan.seed, step])
        samples = [self.sampler.draw(side, rng) for _ in range(self.plan.images)]
        prompts = [simulate(Target.of_picture(sample.mask.T), rng) for sample in samples]
        images = np.stack([sample.image for sample in samples]).astype(np.uint8)
        return Batch(
            images=torch.from_numpy(images).permute(0, 3, 1, 2),
            masks=torch.from_numpy(np.stack([sample.mask for sample in samples])),
            valid=torch.from_numpy(np.stack([sample.valid for sample in samples])),
            maps=torch.from_numpy(np.stack([prompt_maps(given, None, side) for given in prompts])),
            ambiguous=torch.tensor([is_lone_click(given) for given in prompts]),
            prompts=prompts,
        )

    def losses(self, module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss of a batch; now and then with those of half the masks after corrections."""
        images = batch.images.float().contiguous(memory_format=torch.channels_last)
        target = functional.avg_pool2d(batch.masks[:, None].float(), 2)
        valid = functional.avg_pool2d(batch.valid[:, None].float(), 2)
        masks = module(images, batch.maps.contiguous(memory_format=torch.channels_last))
        terms = loss_terms(masks, target, valid, batch.ambiguous)
        if torch.rand(()) < self.plan.correction_share:
            chosen = torch.randperm(len(images))[: len(images) // 2]
            at = chosen.to(target.device)
            again = self._correct(module, images[at], batch, masks, chosen)
            terms["corrected"] = 0.5 * sum(
                loss_terms(again, target[at], valid[at], torch.zeros_like(batch.ambiguous[at])).values(),
                torch.zeros((), device=target.device),
            )
        return terms

    def _correct(self, module: nn.Module, images: Tensor, batch: Batch, masks: Masks, chosen: Tensor) -> Masks:
        """Return the answers for the ``chosen`` masks after some rounds of clicks; only the last round learns."""
        best = torch.where(batch.ambiguous, masks.predicted_iou.argmax(dim=1), 0)[chosen.to(batch.ambiguous.device)]
        shown = masks.logits[chosen.to(best.device)].detach()[torch.arange(len(best), device=best.device), best]
        references = batch.masks[chosen.to(batch.masks.device)].cpu().numpy()
        prompts = [batch.prompts[index] for index in chosen.tolist()]
        rounds = int(torch.empty(()).geometric_(1 - self.plan.another_round).clamp(max=MOST_ROUNDS))
        for left in reversed(range(rounds)):
            without = torch.rand(len(prompts)) < self.plan.no_click_share
            answers = [
                corrected(given, reference, seen, click=not bool(skip))
                for given, reference, seen, skip in zip(
                    prompts, references, shown.float().cpu().numpy(), without, strict=True
                )
            ]
            prompts = [given for given, _ in answers]
            maps = torch.from_numpy(np.stack([drawn for _, drawn in answers])).to(shown.device)
            with torch.set_grad_enabled(left == 0):
                again: Masks = module(images, maps.contiguous(memory_format=torch.channels_last))
            shown = again.logits[:, 0].detach()
        return again


def corrected(prompts: Prompts, reference: Array, seen: Array, *, click: bool = True) -> tuple[Prompts, Array]:
    """Click where a mask is most wrong; return all prompts and their maps, with the mask as the previous one.

    Parameters
    ----------
    prompts
        What was asked.
    reference
        The object, bool (side, side).
    seen
        The logits that came back, (side / 2, side / 2).
    click
        Whether to add the click, or only to look again.
    """
    side = len(reference)
    frame = Letterbox.fit((side, side), side=side, multiple=side)
    shown = Prediction(frame.logits_from_frame(seen[None]), np.zeros(1, np.float32), prompts.geometry)
    if click:
        added = next_click(reference.T[..., None], shown.mask, prompts.geometry)
        if added is not None and added.voxel not in {point.voxel for point in prompts.points}:
            prompts = prompts.add(added)
    return prompts, prompt_maps(prompts, shown, side)


def prompt_maps(prompts: Prompts, shown: Prediction | None, side: int) -> Array:
    """Render the prompts of a square crop by the same code as at inference."""
    return tiny_prompts.maps(prompts, shown, Letterbox.fit((side, side), side=side, multiple=side))


def is_lone_click(prompts: Prompts) -> bool:
    """Whether a part as well as the whole may be meant."""
    return len(prompts.items) == 1 and isinstance(prompts.items[0], Point)


def loss_terms(masks: Masks, target: Tensor, valid: Tensor, ambiguous: Tensor) -> dict[str, Tensor]:
    """Weighted terms of the loss of n prompts.

    Parameters
    ----------
    masks
        The decoder's answer, logits (n, m, h, w).
    target
        (n, 1, h, w) in [0, 1]: the fraction of each output pixel that the object covers.
    valid
        (n, 1, h, w) in [0, 1]: 0 where the input is padding.
    ambiguous
        (n,) bool: where True the best of the m masks is judged, elsewhere mask 0 alone.
    """
    logits = masks.logits.float()
    each = losses.object_cross_entropy(logits, target, valid) + losses.dice_loss(logits, target, valid)
    return {
        "mask": losses.choose(each, ambiguous),
        "iou": IOU_WEIGHT * losses.iou_error(masks.predicted_iou.float(), logits, target, valid),
    }
