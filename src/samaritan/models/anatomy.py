"""Which parts of a network are what, so that one method serves all networks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields

from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """What submodules of a network are, by name; ``*`` in a name stands for one step, such as the number of a block.

    Parameters
    ----------
    encoder, prompts, decoder
        What sees the picture, what takes prompts in, and what draws masks; the innermost of these that holds a
        parameter has it.
    blocks
        Of the encoder: modules that give features of the kind that they take.
    attention, mlp
        The two halves of each block of a transformer; their output is added to what came in.
    fused
        Linear layers whose output is query, key and value, one after the other.
    apart
        Linear layers that give the query, or the value, alone.
    entry, neck
        The module that the picture goes into, and the one that the embedding, or the coarsest part of it, comes out of:
        (n, channels, rows, columns).
    channels_last
        Whether the features of blocks are (n, ..., channels), as in transformers, or (n, channels, rows, columns).
    """

    encoder: tuple[str, ...]
    prompts: tuple[str, ...]
    decoder: tuple[str, ...]
    blocks: tuple[str, ...] = ()
    attention: tuple[str, ...] = ()
    mlp: tuple[str, ...] = ()
    fused: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    entry: tuple[str, ...] = ()
    neck: tuple[str, ...] = ()
    channels_last: bool = False

    def within(self, name: str) -> Anatomy:
        """Return the same of a network that has this one as its submodule of a name."""
        named = {
            field.name: tuple(f"{name}.{pattern}" for pattern in getattr(self, field.name))
            for field in fields(self)
            if field.name != "channels_last"
        }
        return Anatomy(**named, channels_last=self.channels_last)

    def part_of(self, name: str) -> str:
        """Return what a parameter or submodule belongs to: "encoder", "prompts" or "decoder"; "" if to none."""
        held = {
            part: max((len(prefix) for prefix in prefixes if _is_in(name, prefix)), default=-1)
            for part, prefixes in (("encoder", self.encoder), ("prompts", self.prompts), ("decoder", self.decoder))
        }
        part = max(held, key=lambda one: held[one])
        return part if held[part] >= 0 else ""


def found(module: nn.Module, patterns: Iterable[str]) -> dict[str, nn.Module]:
    """Return the submodules that patterns of an ``Anatomy`` name, in the network's order."""
    wanted = [re.compile(re.escape(pattern).replace(r"\*", r"[^.]+")) for pattern in patterns]
    return {name: part for name, part in module.named_modules() if any(one.fullmatch(name) for one in wanted)}


def _is_in(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")
