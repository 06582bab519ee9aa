"""Options that choose cases of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from samaritan.cli._errors import UsageError

if TYPE_CHECKING:
    from samaritan.data import DataSet

Modality = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this one; may be repeated.")]
Split = Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this one; may be repeated.")]
Where = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Only cases with this in a column of their table.")
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N cases.")]


def chosen_cases(
    data: DataSet, modality: list[str] | None, split: list[str] | None, where: list[str] | None, limit: int | None
) -> DataSet:
    """Return the part of a data set that the options choose.

    Raises
    ------
    UsageError
        If ``where`` is not of the form COLUMN=VALUE.
    UnknownNameError, DataSetError
        As ``samaritan.data.filters.select``.
    """
    from samaritan.data.filters import select

    pairs = dict(text.partition("=")[::2] for text in where or ())
    if "" in pairs or not all("=" in text for text in where or ()):
        raise UsageError(got=f"--where {' '.join(where or ())}", wanted="COLUMN=VALUE, such as site=A")
    return select(data, modalities=modality or (), splits=split or (), where=pairs, limit=limit)
