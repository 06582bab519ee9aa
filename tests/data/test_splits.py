from collections import Counter

import pytest

from samaritan.core.errors import DataSetError
from samaritan.data.case import Case, DataSet
from samaritan.data.splits import assign_splits


def data(tmp_path, patients, cases=1, modality=lambda n: "CT"):
    rows = [
        Case(f"{n}-{m}", ("x",), patient=f"p{n}", modality=modality(n)) for n in range(patients) for m in range(cases)
    ]
    return DataSet(tmp_path, "table", tuple(rows))


def test_patients_stay_together_and_shares_hold(tmp_path):
    found = data(tmp_path, 50, cases=3)
    splits = assign_splits(found, {"train": 0.7, "val": 0.1, "test": 0.2})
    assert Counter(splits.values()) == {"train": 105, "val": 15, "test": 30}
    for patient in range(50):
        assert len({splits[f"{patient}-{m}"] for m in range(3)}) == 1


def test_strata_are_spread_evenly(tmp_path):
    found = data(tmp_path, 100, modality=lambda n: "CT" if n < 80 else "MR")
    splits = assign_splits(found, {"train": 0.8, "test": 0.2})
    held = Counter(case.modality for case in found.cases if splits[case.id] == "test")
    assert held == {"CT": 16, "MR": 4}


def test_strata_of_one_patient_still_give_the_shares(tmp_path):
    found = data(tmp_path, 20, modality=lambda n: f"kind {n}")
    assert Counter(assign_splits(found, {"train": 0.75, "test": 0.25}).values()) == {"train": 15, "test": 5}


def test_the_seed_decides_and_the_order_of_cases_does_not(tmp_path):
    found = data(tmp_path, 30)
    turned = DataSet(tmp_path, "table", found.cases[::-1])
    shares = {"train": 0.5, "test": 0.5}
    assert assign_splits(found, shares, seed=1) == assign_splits(turned, shares, seed=1)
    assert assign_splits(found, shares, seed=1) != assign_splits(found, shares, seed=2)


@pytest.mark.parametrize("shares", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}, {"a": 0.25, "b": 0.25, "c": 0.5}])
def test_what_cannot_be_split(tmp_path, shares):
    with pytest.raises(DataSetError):
        assign_splits(data(tmp_path, 2), shares)
