import pickle

import pytest

from samaritan.core.errors import DataSetError
from samaritan.data.case import Case, DataSet, Reference


def test_an_id_stands_once(tmp_path):
    with pytest.raises(DataSetError, match="'a' and 1 more"):
        DataSet(tmp_path, "table", tuple(Case(name, ("x.png",)) for name in "aabb"))


def test_labels_are_those_of_all_cases(tmp_path):
    one = Case("a", ("x.png",), Reference("labels", ("m.png",), {2: "spleen"}))
    two = Case("b", ("x.png",), Reference("labels", ("m.png",), {1: "liver", 2: "other"}))
    assert DataSet(tmp_path, "table", (one, two)).labels == {1: "liver", 2: "spleen"}


def test_who_is_drawn_as_one():
    assert Case("a", (), patient="p", dataset="d").subject == "d/p"
    assert Case("a", (), dataset="d").subject == "d/a"


def test_a_case_goes_to_another_process():
    case = Case("a", ("x.png",), Reference("labels", ("m.png",), {2: "spleen"}), tags={"site": "A"})
    assert pickle.loads(pickle.dumps(case)) == case  # noqa: S301
