"""What a prepared network has learnt, apart from the rest: taken out, and put into another copy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from samaritan.core.errors import CheckpointMismatchError


def learnt_names(module: nn.Module) -> list[str]:
    """Return the names of what learns: parameters that require a gradient, and the statistics of norms that learn."""
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    for prefix, part in module.named_modules():
        own = list(part.parameters(recurse=False))
        if any(parameter.requires_grad for parameter in own):
            names += [f"{prefix}.{name}" if prefix else name for name, _ in part.named_buffers(recurse=False)]
    return names


def learnt_of(module: nn.Module, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return what was learnt, on the CPU; from ``state`` (averaged weights, say) in place of the network's own."""
    source = module.state_dict() if state is None else state
    return {name: source[name].detach().cpu().contiguous() for name in learnt_names(module) if name in source}


@torch.no_grad()
def put(learnt: Mapping[str, Tensor], module: nn.Module) -> None:
    """Put what another copy has learnt into a network that was prepared alike.

    Raises
    ------
    CheckpointMismatchError
        If names or shapes are not those that learn in it.
    """
    state = module.state_dict()
    wanted = {name: tuple(state[name].shape) for name in learnt_names(module) if name in state}
    given = {name: tuple(tensor.shape) for name, tensor in learnt.items()}
    if given != wanted:
        different = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
        first = different[0]
        raise CheckpointMismatchError(
            got=f"an adapter with {len(different)} tensors that differ, {first} first: {given.get(first)}",
            wanted=f"{wanted.get(first)}, as its method and base say",
            fix="Take the adapter with its own card, and the base that this names",
        )
    for name, tensor in learnt.items():
        state[name].copy_(tensor)
