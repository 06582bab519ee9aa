import math

import numpy as np
import pytest

from samaritan.evaluate.report.gallery import ranked
from samaritan.evaluate.report.latex import escaped, to_latex
from samaritan.evaluate.summary import ALL_STEPS, challenge, differences, last_answers, means


def row(model, case, dice, **changes):
    base = {"model": model, "protocol": "box", "step": "box", "effort": 1.0, "choice": "predicted", "case": case}
    base |= {"patient": case[0], "modality": "CT", "value": 1, "instance": 0, "label": "liver", "dice": dice}
    return base | changes


def test_means_over_all_and_within_groups():
    rows = [row("a", "p1", 0.5), row("a", "q1", 0.7, modality="MR"), row("a", "q2", None, modality="MR")]
    (whole,) = means(rows, ["dice"])
    assert (whole.interval.mean, whole.interval.count, whole.interval.patients) == (pytest.approx(0.6), 2, 2)
    assert whole.flat()["mean"] == whole.interval.mean
    parts = {mean.group: mean.interval.mean for mean in means(rows, ["dice"], within="modality")}
    assert parts == {"CT": 0.5, "MR": 0.7}


def test_infinite_distances_have_no_part_in_a_mean():
    (mean,) = means([row("a", "p1", 0.5, hd95=math.inf), row("a", "q1", 0.5, hd95=3.0)], ["hd95"])
    assert (mean.interval.mean, mean.interval.count) == (3.0, 1)


def test_models_are_compared_on_what_both_have_and_corrected():
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        base = float(rng.uniform(0.5, 0.8))
        rows += [
            row("a", f"{number:02d}", base, patient=str(number)),
            row("c", f"{number:02d}", base, patient=str(number)),
        ]
        if number:
            rows.append(row("b", f"{number:02d}", base + 0.1, patient=str(number)))
    found = {(told.first, told.second): told for told in differences(rows, ["dice"])}
    assert set(found) == {("a", "c"), ("a", "b"), ("c", "b")}
    better = found["a", "b"]
    assert better.comparison.difference.count == 11
    assert better.comparison.difference.mean == pytest.approx(0.1)
    assert better.comparison.wins == 11
    assert better.p_holm == pytest.approx(3 * better.comparison.p_flip)
    assert found["a", "c"].p_holm == 1.0


def test_masks_by_others_are_compared_with_the_last_step_of_each_protocol():
    rows = []
    for number in range(8):
        case, patient = f"{number:02d}", str(number)
        clicks = {"protocol": "clicks", "patient": patient}
        rows += [row("a", case, 0.5, step=f"{n} clicks", effort=float(n), **clicks) for n in (1, 2)]
        given = {"protocol": "given", "step": "given", "effort": 0.0, "patient": patient}
        rows += [row("theirs", case, 0.8, **given), row("ours", case, 0.7, **given)]
    told = differences(rows, ["dice"])
    found = {(one.first, one.second, one.step): one.comparison.difference.mean for one in told}
    assert found.keys() == {
        ("a", "theirs", "2 clicks"),
        ("a", "ours", "2 clicks"),
        ("theirs", "ours", "given"),
    }
    assert found["a", "theirs", "2 clicks"] == pytest.approx(0.3)


def test_the_challenge_is_scored_by_case():
    steps = [0.1, 0.4, 0.6, 0.7, 0.8, 0.9]
    rows = [
        row("a", "p1", dice + shift, protocol="cvpr25", effort=float(n), nsd=dice, value=value)
        for n, dice in enumerate(steps)
        for value, shift in ((1, 0.0), (2, 0.1))
    ]
    (found,) = challenge([*rows, row("a", "p1", 0.5, nsd=0.5)])
    assert found["classes"] == 2
    assert found["dice_auc"] == pytest.approx((0.45 + 0.95) / 2 + 0.65 + 0.75 + 0.85)
    assert found["nsd_final"] == 0.9


def test_best_median_and_worst_are_shown_once_each():
    rows = [row("a", f"p{n}", n / 20) for n in range(20)] + [row("a", "x", None)]
    found = ranked(rows, "dice")
    assert [rank for rank, _ in found] == ["best"] * 4 + ["median"] * 4 + ["worst"] * 4
    assert found[0][1]["dice"] == 0.95
    assert found[-1][1]["dice"] == 0.0
    assert len({item["case"] for _, item in found}) == 12
    assert [rank for rank, _ in ranked(rows[:3], "dice")] == ["best"] * 3


def test_of_distances_the_small_ones_are_best_and_infinite_ones_worst():
    values = [*(float(n) for n in range(20)), math.inf]
    found = ranked([row("a", f"p{n}", 0.5, hd95=value) for n, value in enumerate(values)], "hd95")
    assert [item["hd95"] for rank, item in found if rank == "best"] == [0.0, 1.0, 2.0, 3.0]
    assert found[-1][1]["hd95"] == math.inf


def test_a_smaller_distance_wins():
    rows = [row(model, f"{n:02d}", 0.5, hd95=value, patient=str(n))
            for n in range(8) for model, value in (("a", 4.0), ("b", 1.0 if n else 4.05))]  # fmt: skip
    (told,) = differences(rows, ["hd95"])
    found = told.comparison
    assert (found.wins, found.ties, found.losses) == (7, 1, 0)
    assert found.difference.mean < 0


def disturbed(model, case, values):
    """Return rows of corruptions: by kind and severity."""
    return [
        row(model, case, value, protocol="corrupted-images", step=f"{kind} {severity}", effort=float(severity))
        for (kind, severity), value in values.items()
    ]


def test_of_disturbances_an_object_counts_once_with_its_mean():
    values = {("noise", 1): 0.8, ("noise", 2): 0.6, ("blur", 1): 0.7, ("blur", 2): 0.1}
    rows = [*disturbed("a", "p1", values), *disturbed("a", "q1", values), row("a", "p1", 0.9)]
    found = last_answers(rows, ["dice"])
    assert [(r["protocol"], r["case"], r["step"]) for r in found] == [
        ("box", "p1", "box"), ("corrupted-images", "p1", ALL_STEPS), ("corrupted-images", "q1", ALL_STEPS),
    ]  # fmt: skip
    assert found[1]["dice"] == pytest.approx(0.55)
    assert {(mean.step, mean.effort) for mean in means(rows, ["dice"])} >= {("noise 1", 1.0), ("noise 2", 2.0)}
    given = [row("theirs", case, 0.6, protocol="given", step="given", effort=0.0) for case in ("p1", "q1")]
    steps = [told.step for told in differences([*rows, *given], ["dice"]) if told.protocol == "corrupted-images"]
    assert steps == [ALL_STEPS]


def test_a_mean_says_of_how_many_it_is():
    rows = [row("a", "p1", 0.5, hd95=3.0), row("a", "q1", 0.0, hd95=math.inf)]
    found = means(rows, ["dice", "hd95"])
    assert [(mean.interval.count, mean.of) for mean in found] == [(2, 2), (1, 2)]
    assert "3.000 (1 of 2)" in to_latex(found, ["dice", "hd95"])


def test_text_for_latex():
    assert escaped("50% of a_b & c\\d") == r"50\% of a\_b \& c\textbackslash{}d"
