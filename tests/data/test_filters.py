import pytest

from samaritan.core.errors import DataSetError, UnknownNameError
from samaritan.data.case import Case, DataSet
from samaritan.data.filters import select, with_patients


@pytest.fixture
def data(tmp_path):
    cases = (
        Case("a_1", ("x",), modality="CT", split="train", tags={"site": "A"}),
        Case("a_2", ("x",), modality="MR", split="test", tags={"site": "B"}),
        Case("b_1", ("x",), modality="CT", split="test"),
    )
    return DataSet(tmp_path, "table", cases)


def ids(data):
    return [case.id for case in data.cases]


def test_select(data):
    assert ids(select(data)) == ["a_1", "a_2", "b_1"]
    assert ids(select(data, modalities=["CT"])) == ["a_1", "b_1"]
    assert ids(select(data, modalities=["CT"], splits=["test"])) == ["b_1"]
    assert ids(select(data, where={"site": "B"})) == ["a_2"]
    assert ids(select(data, where={"id": "b_1"})) == ["b_1"]
    assert ids(select(data, limit=2)) == ["a_1", "a_2"]


def test_what_is_nowhere(data):
    with pytest.raises(UnknownNameError, match="Did you mean"):
        select(data, splits=["tset"])
    with pytest.raises(UnknownNameError, match="unknown site 'C'"):
        select(data, where={"site": "C"})
    with pytest.raises(DataSetError, match="modality MR, split train"):
        select(data, modalities=["MR"], splits=["train"])


def test_patients_from_ids(data):
    assert [case.patient for case in with_patients(data, "^[^_]+").cases] == ["a", "a", "b"]
    assert [case.patient for case in with_patients(data, "_(.)").cases] == ["1", "2", "1"]
    with pytest.raises(DataSetError, match="regular expression"):
        with_patients(data, "(")
    with pytest.raises(DataSetError, match="'a_2'"):
        with_patients(data, "1")
