"""Teaching networks of Segment Anything's shape by prompts: whole pictures, an object each, and corrections."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from samaritan.adapt import losses
from samaritan.adapt.framing import scaled
from samaritan.adapt.prompted.cases import CaseSampler
from samaritan.adapt.prompted.crops import Sample, whole
from samaritan.autoprompt.simulate import Target, next_click, simulate, tight_box
from samaritan.core.prompts import Prompts
from samaritan.infer.lru import ByteLRU
from samaritan.models.letterbox import Letterbox
from samaritan.models.planar import FrameSpec
from samaritan.models.planar.network import Tokens
from samaritan.models.planar.prompts import is_ambiguous, tokens
from samaritan.models.planar.torch_network import TorchNetwork

Array = NDArray[Any]

# Segment Anything's (Kirillov et al. 2023): focal and Dice 20 to 1, squared error of the IoU.
_FOCAL, _DICE, _IOU = 20.0, 1.0, 1.0
_CORRECTED = 0.5  # chance that an answer is corrected by a click, and again
_KEPT_BYTES = 2 << 30  # of features of pictures
_TRIES = 50  # at prompts that a model takes


class Batch(NamedTuple):
    """Pictures in their frames, each with one prompted object."""

    pictures: Tensor  # (n, 3, side, side) uint8
    masks: Tensor  # (n, side, side) bool
    valid: Tensor  # (n, side, side) bool: not padding
    prompts: list[Prompts]


class PlanarTask:
    """The ``samaritan.adapt.loop.Task`` of networks of Segment Anything's shape.

    Parameters
    ----------
    make_sampler
        Called with how samples are cut, as ``cut``, when the first is wanted, in each process that makes batches: it
        travels there.
    asked
        Makes the network, as it is asked at inference, of the module that learns.
    frame, kinds
        How pictures are prepared, and which prompts the model takes.
    images, seed
        Pictures a batch, and where chance starts.
    encoder_learns
        Whether anything of the encoder does. If not, pictures are shown as they are, and encoded once.
    """

    def __init__(
        self,
        make_sampler: Callable[..., CaseSampler],
        asked: Callable[[nn.Module], TorchNetwork],
        *,
        frame: FrameSpec,
        kinds: frozenset[str],
        images: int,
        seed: int,
        encoder_learns: bool = True,
    ) -> None:
        self._make_sampler, self._network = make_sampler, asked
        self._frame, self._kinds, self._images, self._seed = frame, kinds, images, seed
        self._encoder_learns = encoder_learns
        self._encoded: ByteLRU[bytes, tuple[Tensor, ...]] = ByteLRU(_KEPT_BYTES)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what worker processes do not need: they make batches, and networks are large."""
        return self.__dict__ | {"_network": None, "_encoded": ByteLRU(0)}

    @cached_property
    def sampler(self) -> CaseSampler:
        """Source of samples."""
        cv2.setNumThreads(1)
        return self._make_sampler(cut=partial(whole, frame=self._frame, changed=self._encoder_learns))

    def batch(self, step: int) -> Batch:
        """Draw the samples of a step and simulate their prompts."""
        rng = np.random.default_rng([self._seed, step])
        samples = [self.sampler.draw(self._frame.side, rng) for _ in range(self._images)]
        return Batch(
            torch.from_numpy(np.stack([sample.image for sample in samples]).astype(np.uint8)).permute(0, 3, 1, 2),
            torch.from_numpy(np.stack([sample.mask for sample in samples])),
            torch.from_numpy(np.stack([sample.valid for sample in samples])),
            [self._asked(sample, rng) for sample in samples],
        )

    def losses(self, module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss of a batch; of each object after its prompts and, now and then, after a click more."""
        network = self._network(module)
        seen = self._features(network, batch)
        found: dict[str, list[Tensor]] = defaultdict(list)
        for number, prompts in enumerate(batch.prompts):
            own = seen[number]
            mask, valid = batch.masks[number], batch.valid[number]
            asked = tokens(prompts, None, self._letterbox, mask_side=network.spec.mask_side)
            answer = _answer(network, own, asked)
            terms = _terms(*answer, mask, valid, ambiguous=is_ambiguous(prompts, None))
            while torch.rand(()) < _CORRECTED:
                corrected = _corrected(prompts, mask.cpu().numpy(), answer[0])
                if corrected is None:
                    break
                prompts = corrected  # noqa: PLW2901 - the talk about one object
                asked = tokens(prompts, None, self._letterbox, mask_side=network.spec.mask_side)
                before = answer[0][0, 0].detach().float().cpu().numpy()
                answer = _answer(network, own, replace(asked, mask=before))
                again = _terms(*answer, mask, valid, ambiguous=False)
                terms = {name: terms[name] + again[name] for name in terms}
            for name, term in terms.items():
                found[name].append(term)
        return {name: torch.stack(each).mean() for name, each in found.items()}

    def _features(self, network: TorchNetwork, batch: Batch) -> list[tuple[Tensor, ...]]:
        """Return the features of each picture, (1, ...): encoded now, or before if the encoder stays as it is."""
        if self._encoder_learns:
            maps = network.encoder(scaled(batch.pictures.float(), self._frame, valid=batch.valid))
            return [tuple(one[number : number + 1] for one in maps) for number in range(len(batch.prompts))]
        found = []
        for number in range(len(batch.prompts)):
            picture, valid = batch.pictures[number : number + 1], batch.valid[number : number + 1]
            key = hashlib.blake2b(picture.cpu().contiguous().numpy().tobytes()).digest()
            kept = self._encoded.get(key)
            if kept is None:
                with torch.no_grad():
                    kept = network.encoder(scaled(picture.float(), self._frame, valid=valid))
                self._encoded.put(key, kept, nbytes=sum(one.nbytes for one in kept))
            found.append(kept)
        return found

    @property
    def _letterbox(self) -> Letterbox:
        side = self._frame.side
        return Letterbox.fit((side, side), side=side, multiple=side)

    def _asked(self, sample: Sample, rng: np.random.Generator) -> Prompts:
        """Return prompts of kinds that the model takes."""
        target = Target.of_picture(sample.mask.T)
        for _ in range(_TRIES):
            prompts = simulate(target, rng)
            if prompts.kinds <= self._kinds:
                return prompts
        return Prompts(target.geometry, (tight_box(target),))


def _answer(network: TorchNetwork, features: tuple[Tensor, ...], asked: Tokens) -> tuple[Tensor, Tensor]:
    """Return logits (1, m, rows, columns) and predicted IoU (1, m) about one object."""
    device = features[0].device
    given = {name: torch.from_numpy(array).to(device) for name, array in network.spec.inputs([asked]).items()}
    logits, iou = network.decoder(*features, **given)
    return logits, iou


def _terms(logits: Tensor, iou: Tensor, mask: Tensor, valid: Tensor, *, ambiguous: bool) -> dict[str, Tensor]:
    """Return the weighted terms of the loss of an answer: of the best of several masks if a part may be meant as well.

    Which of the network's masks answer what is as in ``PlanarModel``: the first if there is no doubt, else the others.
    """
    kept = slice(1, None) if ambiguous and logits.shape[1] > 1 else slice(0, 1)
    logits, iou = logits[:, kept].float(), iou[:, kept].float()
    cell = mask.shape[-1] // logits.shape[-1]
    target, weight = (functional.avg_pool2d(each[None, None].float(), cell) for each in (mask, valid))
    each = _FOCAL * losses.focal_loss(logits, target, weight) + _DICE * losses.dice_loss(logits, target, weight)
    doubtful = torch.tensor([ambiguous], device=logits.device)
    return {
        "mask": losses.choose(each, doubtful),
        "iou": _IOU * losses.iou_error(iou, logits, target, weight),
    }


def _corrected(prompts: Prompts, reference: Array, logits: Tensor) -> Prompts | None:
    """Return prompts with a click where a mask is most wrong; None where there is no new one."""
    shown = functional.interpolate(logits[:, :1].detach().float(), size=reference.shape, mode="bilinear")[0, 0] > 0
    added = next_click(reference.T[..., None], shown.cpu().numpy().T[..., None], prompts.geometry)
    if added is None or added.voxel in {point.voxel for point in prompts.points}:
        return None
    return prompts.add(added)
