import json

import numpy as np
import pytest

from samaritan.core.geometry import Geometry
from samaritan.core.image import Image, LabelMap
from samaritan.data import inspection as found_by
from samaritan.data.inspection import digest_of, inspect
from samaritan.data.layouts import open_data
from samaritan.data.summary import spread, summarise
from samaritan.io import write

GEOMETRY = Geometry.from_spacing((12, 10, 6), (1.0, 1.0, 5.0))


def volume(seed, dtype=np.int16):
    values = np.random.default_rng(seed).integers(0, 1000, (1, *GEOMETRY.shape))
    return Image(values.astype(dtype), GEOMETRY)


def labels(size, value=1, geometry=GEOMETRY):
    array = np.zeros(geometry.shape, np.uint8)
    array[:size, :size, :2] = value
    return LabelMap(array, geometry)


@pytest.fixture
def folder(tmp_path):
    rows = []

    def case(name, image, mask, **row):
        write(image, tmp_path / f"{name}.nii.gz")
        if mask is not None:
            write(mask, tmp_path / f"{name}_seg.nii.gz")
        drawn = {"mask": f"{name}_seg.nii.gz"} if mask is not None else {}
        rows.append({"id": name, "image": f"{name}.nii.gz", "labels": {"1": "liver"}, **drawn, **row})

    case("good", volume(0), labels(5), patient="p1", split="train")
    case("again", volume(0, np.float32), labels(5), patient="p1", split="test")
    case("other value", volume(1), labels(4, value=3))
    case("tiny", volume(2), labels(2))
    case("empty", volume(3), labels(0))
    case("none", volume(4), None)
    case("moved", volume(5), labels(5, geometry=Geometry.from_spacing(GEOMETRY.shape, (1.0, 1.0, 2.0))))
    case("broken", volume(6), labels(5))
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8b not really")
    case("broken mask", volume(7), labels(5))
    (tmp_path / "broken mask_seg.nii.gz").write_text("")
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"image": ""}]))
    return tmp_path


def test_everything_that_is_wrong_is_found(folder):
    result = inspect(open_data(folder))
    kinds = {(problem.kind, problem.cases) for problem in result.problems}
    assert kinds == {
        (found_by.DUPLICATE, ("good", "again")),
        (found_by.TWO_SPLITS, ("good", "again")),
        (found_by.UNNAMED, ("other value",)),
        (found_by.TINY, ("tiny",)),
        (found_by.EMPTY, ("empty",)),
        (found_by.NO_REFERENCE, ("none",)),
        (found_by.MISMATCH, ("moved",)),
        (found_by.UNREADABLE, ("broken",)),
        (found_by.BAD_REFERENCE, ("broken mask",)),
        (found_by.NOTE, ()),
    }
    assert result.failed == {"moved", "broken", "broken mask"}


def test_processes_find_the_same(folder):
    data = open_data(folder)
    seen = []
    several = inspect(data, workers=2, progress=lambda _, done, total: seen.append((done, total)))
    assert [facts.columns() for facts in several.facts] == [facts.columns() for facts in inspect(data).facts]
    assert seen == [(n, 9) for n in range(1, 10)]


def test_the_summary(folder):
    facts = summarise(inspect(open_data(folder)))
    assert (facts["cases"], facts["usable"], facts["patients"]) == (9, 6, 1)
    assert facts["splits"] == {"": 7, "train": 1, "test": 1}
    assert facts["orientations"] == {"RAS": 8}
    assert facts["spacing_mm"][2]["max"] == 5
    liver = facts["labels"][0]
    assert (liver["name"], liver["cases"], liver["unit"]) == ("liver", 3, "ml")
    assert liver["size"]["max"] == pytest.approx(5 * 5 * 2 * 5 / 1000)
    json.dumps(facts, allow_nan=False)


def test_many_values_without_names(tmp_path):
    array = np.arange(720).reshape(GEOMETRY.shape) % 100
    write(volume(0), tmp_path / "x.nii.gz")
    write(LabelMap(array.astype(np.uint8), GEOMETRY), tmp_path / "x_seg.nii.gz")
    kinds = {problem.kind for problem in inspect(open_data(tmp_path)).problems}
    assert found_by.MANY in kinds


def test_a_digest_is_of_values_and_shape():
    one = volume(0)
    assert digest_of(one) == digest_of(volume(0, np.float32)) != digest_of(volume(1))
    turned = Image(one.array.reshape(1, 10, 12, 6), Geometry.from_spacing((10, 12, 6)))
    assert digest_of(turned) != digest_of(one)


def test_units():
    assert inspect_unit(Geometry.picture(4, 4)) == "px"


def inspect_unit(geometry):
    return found_by.CaseFacts("a", shape=geometry.shape, spacing_mm=geometry.spacing_mm).unit


def test_spread():
    found = spread(range(101))
    assert found == {"min": 0, "p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "max": 100}
