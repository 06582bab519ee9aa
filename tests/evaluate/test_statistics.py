import math

import numpy as np
import pytest

from samaritan.evaluate.statistics import compare, flip_test, holm, interval

RNG = np.random.default_rng


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        rng = RNG(seed)
        patients = np.repeat(np.arange(30), 4)
        values = 0.7 + np.repeat(rng.normal(0, 0.1, 30), 4) + rng.normal(0, 0.02, 120)
        found = interval(values, patients.astype(str), rng=rng)
        covered += found.low <= 0.7 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_objects_of_a_patient_are_no_independent_draws():
    values = np.repeat(RNG(0).normal(0.7, 0.1, 10), 50)
    apart = interval(values, [str(n) for n in range(500)], rng=RNG(0))
    together = interval(values, np.repeat(np.arange(10), 50).astype(str), rng=RNG(0))
    assert together.high - together.low > 5 * (apart.high - apart.low)
    assert together.mean == apart.mean
    assert (together.count, together.patients) == (500, 10)


def test_intervals_of_little():
    nothing = interval([float("nan")], ["a"], rng=RNG(0))
    assert nothing.count == 0
    assert math.isnan(nothing.mean)
    one = interval([0.5, 0.7, float("nan")], ["a", "a", "b"], rng=RNG(0))
    assert (one.mean, one.count, one.patients) == (pytest.approx(0.6), 2, 1)
    assert math.isnan(one.low)
    assert interval([0.1, 0.9, 0.4], list("abc"), rng=RNG(3)) == interval([0.1, 0.9, 0.4], list("abc"), rng=RNG(3))


def test_sign_flips_are_counted_exactly():
    assert flip_test(np.array([0.1, 0.2, 0.3]), rng=RNG(0)) == 2 / 8
    assert flip_test(np.array([0.1, 0.2, -0.3]), rng=RNG(0)) == 1.0
    assert flip_test(np.array([0.5, 0.1, -0.1]), rng=RNG(0)) == 6 / 8  # sums of .7, .5, .5, .3, each twice


def test_random_flips_are_as_the_exact_ones():
    differences = RNG(1).normal(0.03, 0.05, 14)
    exact = flip_test(differences, rng=RNG(0))
    more = np.concatenate([differences, [0.0]])  # a fifteenth patient who does not differ changes nothing
    assert flip_test(more, rng=RNG(0)) == pytest.approx(exact, abs=0.01)


def test_the_flip_test_keeps_its_level():
    p = [flip_test(RNG(seed).normal(0, 1, 20), rng=RNG(seed)) for seed in range(200)]
    assert 0.01 <= np.mean(np.array(p) < 0.05) <= 0.10


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    found = holm([0.01, float("nan"), 0.02])
    assert found[0] == pytest.approx(0.02)
    assert math.isnan(found[1])
    assert holm([]) == []


def test_two_models():
    patients = [f"p{n // 2}" for n in range(40)]
    first = RNG(0).uniform(0.5, 0.8, 40)
    second = first + RNG(1).normal(0.05, 0.03, 40)
    found = compare(first, second, patients, rng=RNG(2))
    assert found.difference.low < 0.05 < found.difference.high
    assert found.difference.low > 0
    assert max(found.p_flip, found.p_wilcoxon) < 0.001
    assert found.effect > 1
    assert found.rank_biserial > 0.9
    assert found.wins + found.ties + found.losses == 40
    assert found.wins > 30
    turned = compare(second, first, patients, rng=RNG(2))
    assert turned.rank_biserial == -found.rank_biserial
    assert (turned.wins, turned.losses) == (found.losses, found.wins)


def test_a_model_and_itself():
    same = compare([0.5, 0.6], [0.5, 0.6], ["a", "b"], rng=RNG(0))
    assert (same.p_flip, same.p_wilcoxon, same.rank_biserial, same.ties) == (1.0, 1.0, 0.0, 2)
    assert math.isnan(same.effect)
    nothing = compare([float("nan")], [0.5], ["a"], rng=RNG(0))
    assert math.isnan(nothing.p_flip)
    assert nothing.wins + nothing.ties + nothing.losses == 0
