"""Networks of Segment Anything's shape in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samaritan.core.errors import ResourceError
from samaritan.models.device import require_device
from samaritan.models.planar.network import MOST_BYTES, DecoderSpec, Features, Floats, Tokens, require_features
from samaritan.models.runtimes import Runner

_MOST_PICTURES = 16  # that are encoded at once: more of them keep no GPU busier
_GPU_BYTES = 512 << 20  # for objects that are decoded at once there: eight with masks of 256 pixels
_PICTURE_BYTES = 1 << 30  # counted for one: more than any encoder's maps and weights of attention
_MOST_OVERFLOWS = 2  # in a row, after which an encoder no longer tries float16


def torch_device(device: str) -> torch.device:
    """Return PyTorch's device for one of ``DEVICES``; "auto" is CUDA or MPS where there is one, else the CPU.

    Raises
    ------
    UnknownNameError
        If there is no such name.
    ResourceError
        If this machine or this PyTorch lacks the device.
    """
    require_device(device)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if there[name]))
    if not there[device]:
        raise ResourceError(
            got=f"device '{device}', which PyTorch {torch.__version__} does not see here",
            wanted=f"one of: {', '.join(name for name, found in there.items() if found)}",
            fix="Use device 'cpu', or install the PyTorch build for your device (pytorch.org/get-started)",
        )
    return torch.device(device)


def half_precision(device: torch.device) -> torch.dtype | None:
    """Return the type of half precision that encoders compute in on a device; None for float32 throughout.

    bfloat16 on GPUs that have it. On older ones PyTorch would emulate it, slower than float32: they compute in float16.
    """
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


class MixedPrecision:
    """An encoder, computed in half precision where its device has it; what comes out is float32.

    float16 ends at 65504, which features of weights trained in bfloat16 or float32 may exceed: those are computed again
    in float32. Where that was so twice in a row it is the weights, not a picture: from then on all is done in float32.

    Parameters
    ----------
    compute
        Maps pictures (n, ...) to a tuple of features (n, ...).
    """

    def __init__(self, compute: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
        self._compute = compute
        self._overflows = 0  # of the last calls, in a row

    def __call__(self, given: Tensor) -> tuple[Tensor, ...]:
        """Return the features of pictures (n, ...)."""
        half = half_precision(given.device)
        if half is not torch.float16:
            return self._computed(given, half)
        if self._overflows < _MOST_OVERFLOWS:
            features = self._computed(given, half)
            if all(bool(feature.isfinite().all()) for feature in features):
                self._overflows = 0
                return features
            self._overflows += 1
        # One by one: in float32 they take twice the room that there was.
        alone = [self._computed(one, None) for one in given.tensor_split(len(given))]
        return tuple(torch.cat(maps) for maps in zip(*alone, strict=True))

    def _computed(self, given: Tensor, half: torch.dtype | None) -> tuple[Tensor, ...]:
        with torch.autocast(given.device.type, dtype=half, enabled=half is not None):
            return tuple(feature.float() for feature in self._compute(given))


class TorchNetwork:
    """An encoder and a decoder as PyTorch modules.

    Parameters
    ----------
    encoder
        Maps pictures (n, 3, side, side) to a tuple of features (n, ...).
    decoder
        Maps the features of one picture (1, ...) and ``coords``, ``labels``, ``mask`` and ``has_mask``, of the shapes
        that ``DecoderSpec.inputs`` says, to logits (p, m, rows, columns) and predicted IoU (p, m), for p objects.
    shapes, mask_side, pads_boxes
        See ``DecoderSpec``.
    device
        One of ``DEVICES``.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        shapes: Mapping[str, tuple[int, ...]],
        mask_side: int,
        pads_boxes: bool = False,
        device: str = "auto",
    ) -> None:
        self.device = torch_device(device)
        self.encoder, self.decoder = encoder.to(self.device).eval(), decoder.to(self.device).eval()
        self._mixed = MixedPrecision(self.encoder)
        self._spec = DecoderSpec(dict(shapes), mask_side, pads_boxes)

    @property
    def spec(self) -> DecoderSpec:
        """What the decoder is given."""
        return self._spec

    @property
    def runners(self) -> dict[str, Runner]:
        """What runs both modules: a GPU by its own name."""
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
        return dict.fromkeys(("encoder", "decoder"), Runner("torch", device))

    def encode(self, picture: Floats) -> Features:
        """Encode a frame's picture; on a GPU in half precision."""
        return self._encoded([picture])[0]

    def encode_all(self, pictures: Iterable[Floats]) -> Iterator[Features]:
        """Encode many; on a GPU as many at once as there is room for."""
        left = iter(pictures)
        while some := list(islice(left, self.most_pictures)):
            yield from self._encoded(some)

    @property
    def most_pictures(self) -> int:
        """Pictures that are encoded at once: one on the CPU, where each takes as long as alone, and its memory more."""
        if self.device.type != "cuda":
            return 1
        free, _ = torch.cuda.mem_get_info(self.device)
        return max(1, min(_MOST_PICTURES, free // _PICTURE_BYTES))

    @property
    def most_objects(self) -> int:
        """Objects that are decoded at once: on the CPU two with masks of 256 pixels, on a GPU more."""
        return self.spec.objects_in(MOST_BYTES if self.device.type == "cpu" else _GPU_BYTES)

    @torch.inference_mode()
    def _encoded(self, pictures: Sequence[Floats]) -> list[Features]:
        features = self._mixed(torch.from_numpy(np.concatenate(pictures)).to(self.device))
        # Cut apart into copies: a part of a tensor would hold on to all of it.
        each = zip(*(feature.tensor_split(len(pictures)) for feature in features), strict=True)
        return [dict(zip(self.spec.shapes, map(torch.clone, maps), strict=True)) for maps in each]

    def decode(self, features: Features, tokens: Tokens) -> tuple[Floats, Floats]:
        """Return logits (m, rows, columns) and predicted IoU (m,); see ``Network.decode``."""
        logits, iou = self.decode_batch(features, [tokens])
        return logits[0], iou[0]

    @torch.inference_mode()
    def decode_batch(self, features: Features, asked: Sequence[Tokens]) -> tuple[Floats, Floats]:
        """Return logits (p, m, rows, columns) and predicted IoU (p, m); see ``Network.decode_batch``."""
        known = (cast("Tensor", features[name]) for name in self.spec.shapes)
        logits, iou = self.decoder(*known, **{name: self._tensor(a) for name, a in self.spec.inputs(asked).items()})
        return logits.float().cpu().numpy(), iou.float().cpu().numpy()

    def to_arrays(self, features: Features) -> dict[str, NDArray[Any]]:
        """Return the features as arrays."""
        return {name: features[name].cpu().numpy() for name in self.spec.shapes}

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Features:
        """Return the features that ``to_arrays`` took apart.

        Raises
        ------
        CorruptFileError
            If these are not the features of this network.
        """
        require_features(arrays, self.spec.shapes)
        return {name: self._tensor(arrays[name]) for name in self.spec.shapes}

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.tensor(array, device=self.device)  # a copy: arrays from the cache are not to be written to
