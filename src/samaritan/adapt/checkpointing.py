"""Less memory for more time: blocks whose features are computed again for their gradients rather than kept."""

from __future__ import annotations

from functools import partial, wraps
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from samaritan.core.errors import TrainingError
from samaritan.models.anatomy import Anatomy, found


def forget(module: nn.Module, anatomy: Anatomy) -> None:
    """Let an encoder's blocks forget their features while gradients are wanted (Chen et al. 2016, arXiv:1604.06174).

    Raises
    ------
    TrainingError
        If the network's blocks are not known.
    """
    blocks = found(module, anatomy.blocks)
    if not blocks:
        raise TrainingError(got="gradient checkpointing of a network without blocks", wanted="one with known blocks")
    for block in blocks.values():
        _wrap(block)


def _wrap(block: nn.Module) -> None:
    kept = block.forward

    @wraps(kept)
    def forward(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the block takes
        if not torch.is_grad_enabled():
            return kept(*given, **named)
        return checkpoint(partial(kept, **named), *given, use_reentrant=False)

    block.forward = forward
