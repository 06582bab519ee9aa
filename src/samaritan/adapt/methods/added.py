"""Modules that add to features, beside or after parts of a network.

They are called by hooks, so that parts stay as they are, and their weights lie in the module that they are hooked to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import nn

from samaritan.models.anatomy import Anatomy, found

_NAME = "adapter"  # of what is added to a part


class Added(nn.Module):
    """What maps features to something of the same shape that is added to them; at first it is 0."""

    def after(self, _part: nn.Module, _given: Any, output: Any) -> Any:  # noqa: ANN401 - a hook's own
        """Add to what a module gives what this makes of it; of a tuple to its first."""
        if isinstance(output, tuple):
            return (output[0] + self(output[0]), *output[1:])
        return output + self(output)

    def beside(self, _part: nn.Module, given: Any, output: Any) -> Any:  # noqa: ANN401 - as above
        """Add to what a module gives what this makes of what the module was given."""
        return output + self(given[0])


def add(
    module: nn.Module, places: Mapping[str, nn.Module], make: Callable[[int], Added], *,
    where: Literal["after", "beside"],
) -> None:  # fmt: skip
    """Give each place what ``make`` makes for as many channels as come out there."""
    device = next(module.parameters()).device
    for part in places.values():
        added = make(channels_of(part)[1]).to(device)
        name = next(name for name in (_NAME, f"{_NAME}_{where}") if not hasattr(part, name))
        part.register_forward_hook(getattr(added, where))
        part.add_module(name, added)


def halves(module: nn.Module, anatomy: Anatomy) -> dict[str, nn.Module]:
    """Return the perceptrons of a transformer's blocks; of other encoders the blocks that keep their channels."""
    blocks = found(module, anatomy.blocks)
    keeping = {name: block for name, block in blocks.items() if len(set(channels_of(block))) == 1}
    return found(module, anatomy.mlp) or keeping


def channels_of(part: nn.Module) -> tuple[int, int]:
    """Return the channels that come into a part of a network, and out of it, by its first and last dense layer."""
    ends = []
    for name, layer in part.named_modules():
        if _NAME in name:
            continue
        if isinstance(layer, nn.Linear):
            ends.append((layer.in_features, layer.out_features))
        elif isinstance(layer, nn.Conv2d):
            ends.append((layer.in_channels, layer.out_channels))
    return ends[0][0], ends[-1][1]
