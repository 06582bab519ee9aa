"""Modules without first weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWN = (Tensor.normal_, Tensor.uniform_)


class Undrawn(TorchFunctionMode):
    """While active, modules are made without drawing their first weights; what their memory holds is undefined.

    For modules that are given weights at once. Drawing would take seconds for the larger ones, and change what random
    numbers the caller's program gets.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        """Leave tensors as they are where they would be drawn; PyTorch calls this for every operation."""
        kwargs = kwargs or {}
        if function in _DRAWN or getattr(function, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)
