"""Options whose order means something: the prompts that follow ``--label liver`` belong to the liver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from typer._click.core import Context  # typer gives the class no public name

_KEY = "samaritan.order"
Given = tuple[str, str]


class OrderedCommand(TyperCommand):
    """A command that remembers the order in which its repeatable options were given."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse ``args`` as every command does, and keep ``(parameter name, text)`` of each repeatable option."""
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        rest = {name: iter(texts) for name, texts in values.items() if isinstance(texts, list)}
        ctx.meta[_KEY] = tuple((p.name, next(rest[p.name])) for p in order if p.name in rest)
        return super().parse_args(ctx, args)


def given(ctx: typer.Context) -> tuple[Given, ...]:
    """Return ``(parameter name, text)`` of the repeatable options of an ``OrderedCommand``, as they were typed."""
    order: tuple[Given, ...] = ctx.meta.get(_KEY, ())
    return order
