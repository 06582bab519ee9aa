"""Splits: who is trained on and who is tested, by patient, stratified, from a seed."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from samaritan.core.errors import DataSetError
from samaritan.data.case import Case, DataSet


def assign_splits(data: DataSet, shares: Mapping[str, float], *, seed: int = 0) -> dict[str, str]:
    """Return the split of each case by its id: all cases of a patient in one, strata spread evenly.

    Patients are of one stratum if their cases are of the same data set, modality and labels drawn. Within a stratum, in
    an order that the seed decides, each patient goes to the split that lacks most of its share of the cases so far,
    of the stratum and of all: so that the shares hold in each stratum, and over all where strata are small.

    Parameters
    ----------
    data
        Its cases; those already in a split are assigned anew.
    shares
        Share of each split, which sum to 1: ``{"train": 0.8, "test": 0.2}``.
    seed
        The same seed gives the same splits, whatever the order of the cases.

    Raises
    ------
    DataSetError
        If the shares are not positive or do not sum to 1, or there are fewer patients than splits.
    """
    if not shares or min(shares.values()) <= 0 or not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise DataSetError(
            got=f"shares {dict(shares)}", wanted="positive ones that sum to 1, such as train=0.8,test=0.2"
        )
    patients: dict[str, list[Case]] = defaultdict(list)
    for case in sorted(data.cases, key=lambda case: case.id):
        patients[case.subject].append(case)
    if len(patients) < len(shares):
        raise DataSetError(
            got=f"{len(patients)} patients for {len(shares)} splits", wanted="a patient for each at least"
        )
    strata: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for patient in sorted(patients):
        strata[_stratum(patients[patient])].append(patient)
    rng = np.random.default_rng(seed)
    placed: dict[str, str] = {}
    whole: Counter[str] = Counter()
    # Small strata last: they fill up what the large ones, which can keep the shares by themselves, have left uneven.
    for stratum in sorted(strata, key=lambda stratum: (-len(strata[stratum]), str(stratum))):
        within: Counter[str] = Counter()
        for patient in rng.permutation(strata[stratum]):
            size = len(patients[patient])
            chosen = max(
                shares, key=lambda split: _lack(within, shares, split, size) + _lack(whole, shares, split, size)
            )
            within[chosen] += size
            whole[chosen] += size
            placed |= {case.id: chosen for case in patients[patient]}
    return {case.id: placed[case.id] for case in data.cases}


def _stratum(cases: Sequence[Case]) -> tuple[object, ...]:
    labels = sorted({name for case in cases if case.reference for name in case.reference.names.values()})
    return (*sorted({case.dataset for case in cases}), *sorted({case.modality for case in cases}), *labels)


def _lack(placed: Counter[str], shares: Mapping[str, float], split: str, size: int) -> float:
    """Return how many cases a split lacks of its share once ``size`` more are placed."""
    return round(shares[split] * (placed.total() + size) - placed[split], 9)
