"""What the `tiny` network learns: synthetic scenes, real views and pieces of them, asked for as people ask."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from samaritan.adapt.prompted.tiny import Plan, PromptedTask
from training.tiny.cases import VALIDATION_FAMILIES, load_views, split
from training.tiny.pieces import load_pieces
from training.tiny.scenes import Sampler


class TinyTask(PromptedTask):
    """The `samaritan.adapt.Task` of the `tiny` network.

    Workers read the views of real cases from `cache`, and pieces of them from beside it, when they begin: `prepare`
    makes both, once. Without `data` there are synthetic scenes only. The families and cases of `held_out` do not train.
    """

    def __init__(
        self, plan: Plan, data: Path | None, cache: Path, *, held_out: frozenset[str] = VALIDATION_FAMILIES
    ) -> None:
        self._made = partial(_sampler, data, cache, held_out)
        super().__init__(plan, self._made)

    def prepare(self) -> None:
        """Make what workers read, if it is not there: each of them would make it for itself."""
        # The sampler is not kept: it would travel to every worker.
        self._made()


def _sampler(data: Path | None, cache: Path, held_out: frozenset[str]) -> Sampler:
    """Return a source of crops of all families but the held-out ones."""
    if data is None:
        return Sampler([])
    views, _ = split(load_views(data, cache), held_out)
    return Sampler(views, load_pieces(views, cache.parent))
