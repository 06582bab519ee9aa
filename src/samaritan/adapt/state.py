"""What a run needs to go on exactly where it was: gathered, saved whole or not at all, and put back."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samaritan.core.errors import CheckpointMismatchError
from samaritan.io.atomic import atomic_path

State = dict[str, Any]

PARTS = frozenset(
    {"module", "average", "optimiser", "scaler", "generator", "device_generators", "step", "config"}
)  # of the checkpoint of a run


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


def read(path: Path, *, parts: Set[str] = PARTS) -> State:
    """Read a checkpoint that has at least ``parts``, without running any code in it.

    Raises
    ------
    CheckpointMismatchError
        If it is not a checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises anything from KeyError to UnpicklingError for a file that is not one of its own.
        raise _no_checkpoint(path, type(error).__name__) from error
    missing = sorted(parts - state.keys()) if isinstance(state, dict) else sorted(parts)
    if missing:
        raise _no_checkpoint(path, f"without {', '.join(missing)}")
    return dict(state)


def load(path: Path, *, config: Mapping[str, object]) -> State:
    """Read the checkpoint of a run that is to go on, without running any code in it.

    Raises
    ------
    CheckpointMismatchError
        If the run that wrote it had another ``config``, or it is not a checkpoint.
    """
    state = read(path)
    written = state["config"]
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


def _no_checkpoint(path: Path, why: str) -> CheckpointMismatchError:
    return CheckpointMismatchError(
        got=f"{path} is not a checkpoint of a run ({why})",
        wanted="the checkpoint.pt that training writes",
        fix="To start anew, remove it or name another folder",
    )
