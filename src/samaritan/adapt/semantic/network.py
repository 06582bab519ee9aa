"""A base's encoder with a head of several classes."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from samaritan.adapt.sight import Sight
from samaritan.models.anatomy import Anatomy

HEAD = "head"
_BASE = "base"


class SemanticNetwork(nn.Module):
    """Pictures -> logits of background and classes.

    Parameters
    ----------
    base
        A base's network.
    head
        See ``samaritan.adapt.semantic.heads``.
    sight
        How the base sees.
    """

    def __init__(self, base: nn.Module, head: nn.Module, sight: Sight) -> None:
        super().__init__()
        self.base, self.head = base, head
        self._see = sight.see

    def forward(self, pictures: Tensor) -> Tensor:
        """Map RGB (n, 3, rows, columns) in [0, 255] to logits (n, 1 + classes, fewer rows, fewer columns)."""
        logits: Tensor = self.head(self.base, self._see(self.base, pictures))
        return logits


def anatomy_of(base: Anatomy, *, uses_decoder: bool) -> Anatomy:
    """Return which parts of a ``SemanticNetwork`` are what; a base's decoder that is not used is no part."""
    within = base.within(_BASE)
    return replace(within, decoder=(HEAD, *(within.decoder if uses_decoder else ())))
