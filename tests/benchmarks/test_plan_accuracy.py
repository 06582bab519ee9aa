"""What counts as a plan that was kept."""

import json
from dataclasses import asdict, replace

import pytest
from benchmarks.plan_accuracy import Outcome, recorded, rows, write_ct

from samaritan import read

EXACT = Outcome(
    "tiny", "box", 100, at_most=False, planned={"seconds": 30.0, "memory": 300.0, "disk": 20.0},
    real={"seconds": 30.0, "memory": 300.0, "disk": 20.0}, planning_s=5.0, processors=(0.5, 0.5),
)  # fmt: skip


@pytest.mark.parametrize("what", ["seconds", "memory", "disk"])
def test_a_plan_is_kept_within_a_fifth(what):
    assert EXACT.kept
    for factor, kept in ((0.79, False), (0.81, True), (1.19, True), (1.21, False)):
        off = replace(EXACT, planned={**EXACT.planned, what: EXACT.planned[what] * factor})
        assert off.kept == kept
        assert off.ratios[what] == pytest.approx(factor)
    assert replace(EXACT, at_most=True, planned={**EXACT.planned, what: 1e6}).kept


def test_a_row_says_it_all():
    (row,) = rows([replace(EXACT, at_most=True)])
    told = "30.0 | 30.0 | 1.00 | 300 | 300 | 1.00 | 20 | 20 | 1.00 | yes | 5 s | 0.50 | 0.50"
    assert row == f"| tiny, box, upper bound | {told} |"


def test_what_was_found_with_as_many_slices_stays_on_record(tmp_path):
    path = tmp_path / "plan.json"
    assert recorded(path, 100) == recorded(None, 100) == {}
    path.write_text(json.dumps([asdict(EXACT), asdict(replace(EXACT, slices=10))]), encoding="utf-8")
    (again,) = recorded(path, 100).values()
    assert list(rows([again])) == list(rows([EXACT]))


def test_the_object_goes_through_all_slices(tmp_path):
    write_ct(tmp_path / "ct.nii.gz", 4)
    values = read(tmp_path / "ct.nii.gz").array[0]
    inside = values[170:200, 170:200].mean(axis=(0, 1))
    assert values.shape == (512, 512, 4)
    assert (abs(inside - 60) < 5).all()
