"""What objects are like, and what that explains of scores."""

import math

import numpy as np
import pytest

from samaritan.autoprompt.simulate import Target
from samaritan.core.geometry import Geometry
from samaritan.evaluate.factors import FACTORS, factors_of
from samaritan.evaluate.regression import MIXED, ROBUST, design_of, effects_of

SHAPE = (80, 60)


def disk(centre, radius, shape=SHAPE):
    i, j = np.ogrid[: shape[0], : shape[1]]
    return ((i - centre[0]) ** 2 + (j - centre[1]) ** 2 <= radius**2)[..., None]


def described(mask, values=None, geometry=None):
    geometry = geometry or Geometry.picture(*mask.shape[:2])
    values = np.where(mask, 200.0, 40.0)[None] if values is None else values
    return factors_of(Target(mask, geometry), values)


def test_a_disk_is_round_and_whole():
    found = described(disk((40, 30), 12))
    assert found["size"] == pytest.approx(math.pi * 12**2 / (80 * 60), rel=0.03)
    assert found["complexity"] == pytest.approx(1.0, abs=0.12)
    assert found["elongation"] == pytest.approx(1.0, abs=0.02)
    assert found["components"] == 1
    assert found["measure"] == pytest.approx(math.pi * 12**2, rel=0.03)


def test_a_bar_is_long_and_two_disks_are_two_pieces():
    bar = np.zeros((*SHAPE, 1), np.bool_)
    bar[10:70, 20:30] = True
    assert described(bar)["elongation"] == pytest.approx(6.0, rel=0.01)
    assert described(bar)["complexity"] > 1.3
    both = disk((20, 30), 8) | disk((60, 30), 8)
    assert described(both)["components"] == 2


def test_spacing_decides_what_is_long():
    ball = np.zeros((20, 20, 4), np.bool_)
    ball[5:15, 5:15, 1:3] = True
    grid = Geometry.from_spacing(ball.shape, (1, 1, 5))
    found = described(ball, geometry=grid)
    assert found["measure"] == 10 * 10 * 2 * 5
    assert found["elongation"] == pytest.approx(1.0, abs=0.01)
    thin = described(ball, geometry=Geometry.from_spacing(ball.shape, (3, 1, 1)))
    assert thin["elongation"] == pytest.approx(3.0, rel=0.01)
    assert described(ball, geometry=Geometry.from_spacing(ball.shape))["complexity"] > found["complexity"]


def test_contrast_is_counted_in_deviations_of_what_is_near():
    mask = disk((40, 30), 12)
    noise = np.random.default_rng(0).normal(0, 10, (1, *mask.shape))
    assert described(mask, np.where(mask, 70.0, 40.0)[None] + noise)["contrast"] == pytest.approx(3.0, abs=0.5)
    assert described(mask, noise)["contrast"] < 0.3
    far = np.where(np.arange(80)[:, None, None] > 60, 900.0, 40.0) + np.zeros(mask.shape)
    assert described(mask, far[None])["contrast"] == 0
    two = np.concatenate([noise, np.where(mask, 70.0, 40.0)[None] + noise])
    assert described(mask, two)["contrast"] == pytest.approx(3.0, abs=0.5)


def test_what_is_undefined_is_none():
    whole = np.ones((*SHAPE, 1), np.bool_)
    assert described(whole)["contrast"] is None
    mask = disk((40, 30), 12)
    assert described(mask, np.zeros((1, *mask.shape)))["contrast"] is None


def made(count, *, objects=1, seed=0, modalities=("CT",)):
    """Return rows whose score is size and contrast, and a patient's own part, and what the objects are like."""
    rng = np.random.default_rng(seed)
    rows, known = [], {}
    for patient in range(count // objects):
        own = rng.normal(0, 0.05) if objects > 1 else 0.0
        for value in range(objects):
            about = {
                "size": math.exp(rng.normal(-3, 1)), "contrast": math.expm1(rng.uniform(0.2, 2)),
                "complexity": rng.uniform(1, 2), "components": 1.0, "elongation": rng.uniform(1, 3), "volume": False,
            }  # fmt: skip
            score = 0.5 + 0.1 * (math.log(about["size"]) + 3) + 0.05 * np.log1p(about["contrast"]) + own
            modality = modalities[patient % len(modalities)]
            score += 0.2 * (modality == "US") + rng.normal(0, 0.01)
            case = f"c{patient}"
            rows.append({"case": case, "value": value, "instance": 0, "patient": case, "modality": modality})
            rows[-1]["dice"] = score
            known[case, value, 0] = about
    return rows, known


def of_size(known):
    """Return by how much a score changes for a deviation of size."""
    return 0.1 * float(np.std([math.log(about["size"]) for about in known.values()]))


def effects(rows, known):
    found = effects_of(design_of(rows, known, "dice"), model="a", protocol="box", step="box", metric="dice")
    return {effect.factor: effect for effect in found}


@pytest.mark.parametrize(("objects", "method"), [(1, ROBUST), (4, MIXED)])
def test_what_scores_were_made_of_is_found(objects, method):
    rows, known = made(240, objects=objects, modalities=("CT", "CT", "US"))
    found = effects(rows, known)
    assert set(found) == {*FACTORS, "modality US"} - {"components"}  # which do not vary
    assert {effect.method for effect in found.values()} == {method}
    assert found["size"].estimate == pytest.approx(of_size(known), rel=0.03)
    assert found["size"].low < of_size(known) < found["size"].high
    assert found["size"].p < 1e-6
    assert found["size"].correlation > 0.7
    assert found["contrast"].estimate > 0.01
    assert found["modality US"].estimate == pytest.approx(0.2, abs=0.05)
    assert abs(found["elongation"].estimate) < 0.01
    assert found["elongation"].p > 0.001
    assert (found["size"].count, found["size"].patients) == (240, 240 // objects)


def test_outliers_do_not_decide():
    rows, known = made(200)
    for row in rows[:10]:
        row["dice"] = 0.0
    assert effects(rows, known)["size"].estimate == pytest.approx(of_size(known), rel=0.05)


def test_a_partial_plot_shows_the_effect_and_nothing_of_the_rest():
    rows, known = made(200)
    design = design_of(rows, known, "dice")
    x, y = design.partial(design.names.index("size"))
    assert float(x @ y) / float(x @ x) == pytest.approx(of_size(known), rel=0.03)
    other = np.delete(design.columns, design.names.index("size"), axis=1)
    np.testing.assert_allclose(other.T @ x, 0, atol=1e-8)


def test_too_few_objects_explain_nothing():
    rows, known = made(10)
    assert design_of(rows, known, "dice") is None
    rows, known = made(100)
    assert design_of([{**row, "dice": None} for row in rows], known, "dice") is None
    assert design_of([{**row, "dice": 0.5} for row in rows], known, "dice") is None
    assert design_of(rows, {}, "dice") is None
    known["c0", 0, 0]["contrast"] = None
    assert len(design_of(rows, known, "dice").score) == 99
