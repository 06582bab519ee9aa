import pytest

from samaritan.adapt.census import Census, Looks, census
from samaritan.core.errors import TrainingError
from samaritan.models import model_card


@pytest.fixture
def looks():
    return Looks(model_card("tiny"))


def test_only_wanted_labels_and_cases_without_them_are_told(data, looks):
    names = census(data.root, data.cases, looks).planes
    name = min(names)
    found = census(data.root, data.cases, Looks(looks.card, labels=(name,)))
    assert list(found.planes) == [name]
    with pytest.raises(TrainingError, match="no object of spleen in 6 cases, of which 0"):
        census(data.root, data.cases, Looks(looks.card, labels=("spleen",)))


def test_a_case_that_cannot_be_read_is_told_and_left_out(folder, data, looks):
    (folder / "images/p2.png").write_bytes(b"nothing")
    found = census(data.root, data.cases, looks)
    assert list(found.unreadable) == ["p2"]
    assert "p2.png" in found.unreadable["p2"]
    assert all(2 not in numbers for numbers in found.cases.values())


def test_labels_keep_their_values_unless_two_have_one(data, looks):
    found = census(data.root, data.cases, looks)
    assert sorted(found.classes) == [1, 2]
    assert not found.volumes
    assert found.longest == 72
    assert Census({}, {"a": (0,), "b": (1,)}, {"a": 4, "b": 4}).classes == {1: "a", 2: "b"}
    assert Census({}, {"b": (0,), "a": (1,)}, {"a": 4, "b": 2}).classes == {2: "b", 4: "a"}
