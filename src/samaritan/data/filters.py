"""Parts of a data set: the cases that are wanted, and patients that only the names of cases tell."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import fields, replace

from samaritan.core.errors import DataSetError, UnknownNameError
from samaritan.data.case import Case, DataSet

_COLUMNS = tuple(item.name for item in fields(Case) if item.name in ("id", "patient", "modality", "split", "dataset"))


def select(
    data: DataSet,
    *,
    modalities: Collection[str] = (),
    splits: Collection[str] = (),
    where: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> DataSet:
    """Return the cases of these modalities and splits whose columns or tags have these values; the first ``limit``.

    Empty means all.

    Raises
    ------
    UnknownNameError
        If a modality, a split or a column is in no case: it is misspelt, most likely.
    DataSetError
        If no case is left.
    """
    cases = list(data.cases)
    wanted = [("modality", set(modalities)), ("split", set(splits))]
    wanted += [(column, {value}) for column, value in (where or {}).items()]
    for column, values in wanted:
        if not values:
            continue
        known = {_value(case, column) for case in data.cases}
        for value in values - known:
            raise UnknownNameError.of(value, kind=column, known=known - {""})
        cases = [case for case in cases if _value(case, column) in values]
    if not cases:
        asked = ", ".join(f"{column} {' or '.join(sorted(values))}" for column, values in wanted if values)
        raise DataSetError(got=f"no case of {data.root} with {asked}", wanted="one at least")
    return replace(data, cases=tuple(cases[:limit]))


def with_patients(data: DataSet, pattern: str) -> DataSet:
    """Return the data set with patients as ``pattern``, a regular expression, finds them in the ids of the cases.

    The patient is its first group, or where it has none all that it matches: ``"^[^_]+"``.

    Raises
    ------
    DataSetError
        If it is no regular expression, or does not fit an id.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataSetError(got=f"the pattern '{pattern}' ({error})", wanted="a regular expression") from error
    cases = []
    for case in data.cases:
        match = compiled.search(case.id)
        if match is None:
            raise DataSetError(
                got=f"case '{case.id}', in which '{pattern}' is not found", wanted="the patient in every id"
            )
        cases.append(replace(case, patient=match[1] if compiled.groups else match[0]))
    return replace(data, cases=tuple(cases))


def _value(case: Case, column: str) -> str:
    return str(getattr(case, column)) if column in _COLUMNS else case.tags.get(column, "")
