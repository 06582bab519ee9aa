"""Modules without first weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWN = (Tensor.normal_, Tensor.uniform_)
_DRAWING = ("torch.nn.init", "transformers.initialization")  # modules; the latter's stand in for the former's


class Undrawn(TorchFunctionMode):
    """While active, modules are made without drawing their first weights; what their memory holds is undefined.

    For modules that are given weights at once. Drawing would take seconds for the larger ones, and change what random
    numbers the caller's program gets.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Leave tensors as they are where they would be drawn; PyTorch calls this for every operation."""
        kwargs = kwargs or {}
        if function in _DRAWN or getattr(function, "__module__", "") in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        if function is torch.randn:
            return torch.empty(*args, **kwargs)
        return function(*args, **kwargs)
