"""What a run needs to go on exactly where it was: gathered, saved whole or not at all, and put back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samaritan.core.errors import CheckpointMismatchError
from samaritan.io.atomic import atomic_path

State = dict[str, Any]


class Average:
    """An exponential moving average of a module's weights and buffers (Polyak and Juditsky 1992).

    Early on it forgets faster, so that the first weights do not stay in it.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, Tensor] = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after ``step`` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1.0 - decay)
            else:
                self.state[name].copy_(value)


def save(path: Path, state: State) -> None:
    """Write a checkpoint of tensors and plain values, atomically."""
    with atomic_path(path) as staged:
        torch.save(state, staged)


def load(path: Path, *, config: Mapping[str, object]) -> State:
    """Read a checkpoint without running any code in it.

    Raises
    ------
    CheckpointMismatchError
        If the run that wrote it had another ``config``, or it is not a checkpoint.
    """
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
        written = state["config"]
    except Exception as error:
        # torch raises anything from KeyError to UnpicklingError for a file that is not one of its own.
        raise CheckpointMismatchError(
            got=f"{path} is not a checkpoint of a run ({type(error).__name__})",
            fix="Remove it to start anew, or name another folder",
        ) from error
    different = sorted(key for key in written.keys() | config.keys() if written.get(key) != config.get(key))
    if different:
        before = {key: written.get(key) for key in different}
        now = {key: config.get(key) for key in different}
        raise CheckpointMismatchError(
            got=f"a checkpoint in {path.parent} of a run with {before}",
            wanted=f"{now}, as asked for now",
            fix="Give the settings that it was started with to go on, or name another folder to start anew",
        )
    return state
