"""Depthwise convolutions whose filters stay as they are: what makes training on a CPU four times faster.

PyTorch's CPU kernels take most of a training step for the gradients of depthwise convolutions: those of the
filters, and those of the input at stride 2. ImageNet's filters (edges, spots, at every channel) serve any image, so
they are frozen; and the gradient of the input is computed as a convolution with the flipped filter, at stride 2 after
spreading the gradient over the input's grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional


class _FrozenDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.stride, ctx.size = stride, x.shape[2:]
        return functional.conv2d(x, weight.to(x.dtype), None, stride, weight.shape[-1] // 2, 1, weight.shape[0])

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (weight,) = gradients, ctx.saved_tensors
        if ctx.stride > 1:
            spread = gradient.new_zeros(*gradient.shape[:2], *ctx.size).to(memory_format=torch.channels_last)
            spread[:, :, :: ctx.stride, :: ctx.stride] = gradient
        else:
            spread = gradient.contiguous(memory_format=torch.channels_last)
        flipped = weight.flip(2, 3).to(gradient.dtype)
        return functional.conv2d(spread, flipped, None, 1, weight.shape[-1] // 2, 1, weight.shape[0]), None, None


class FrozenDepthwise(nn.Conv2d):
    """A depthwise convolution with an odd kernel that keeps the size, whose filters never change."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (b, c, h, w) channel by channel."""
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        result: Tensor = _FrozenDepthwise.apply(x, self.weight, self.stride[0])  # type: ignore[no-untyped-call]
        return result


def freeze_depthwise(module: nn.Module) -> None:
    """Freeze the filters of all depthwise convolutions in `module`."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.groups == part.in_channels > 1:
            part.__class__ = FrozenDepthwise
            part.weight.requires_grad_(requires_grad=False)
