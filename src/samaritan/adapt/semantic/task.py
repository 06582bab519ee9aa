"""Teaching a network classes: batches of planes, and how wrong its maps of classes are."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from samaritan.adapt import losses
from samaritan.adapt.semantic.sheets import SheetSampler

# SAMed's (Zhang & Liu 2023, arXiv:2304.13785).
_ENTROPY, _DICE = 0.2, 0.8


class Batch(NamedTuple):
    """Planes with a class for each pixel."""

    pictures: Tensor  # (n, 3, side, side) uint8
    classes: Tensor  # (n, side, side) uint8
    valid: Tensor  # (n, side, side) bool: not padding


class SemanticTask:
    """The ``samaritan.adapt.loop.Task`` of a ``SemanticNetwork``.

    Parameters
    ----------
    make_sampler
        Called when the first sample is wanted, in each process that makes batches: it travels there.
    images, side, seed
        Planes a batch, their side in pixels, and where chance starts.
    """

    def __init__(self, make_sampler: Callable[[], SheetSampler], *, images: int, side: int, seed: int) -> None:
        self._make_sampler, self.images, self.side, self.seed = make_sampler, images, side, seed

    @cached_property
    def sampler(self) -> SheetSampler:
        """Source of samples."""
        cv2.setNumThreads(1)
        return self._make_sampler()

    def batch(self, step: int) -> Batch:
        """Draw the samples of a step."""
        rng = np.random.default_rng([self.seed, step])
        samples = [self.sampler.draw(self.side, rng) for _ in range(self.images)]
        return Batch(
            torch.from_numpy(np.stack([sample.picture for sample in samples])).permute(0, 3, 1, 2),
            torch.from_numpy(np.stack([sample.classes for sample in samples])),
            torch.from_numpy(np.stack([sample.valid for sample in samples])),
        )

    def losses(self, module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss: cross entropy, and Dice of the classes over the batch."""
        logits = module(batch.pictures.float().contiguous(memory_format=torch.channels_last)).float()
        cell = batch.classes.shape[-1] // logits.shape[-1]
        one_hot = functional.one_hot(batch.classes.long(), logits.shape[1]).permute(0, 3, 1, 2).float()
        target = functional.avg_pool2d(one_hot, cell)
        valid = functional.avg_pool2d(batch.valid[:, None].float(), cell)
        return {
            "entropy": _ENTROPY * losses.class_entropy(logits, target, valid),
            "dice": _DICE * losses.class_dice(logits, target, valid),
        }
