import pytest
from hypothesis import given
from hypothesis import strategies as st

from samaritan.cli._errors import UsageError
from samaritan.cli._parse import choice, corners, numbers, outline, size_in_bytes
from samaritan.core.errors import PromptError

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FINITE, min_size=2, max_size=3))
def test_numbers_are_read_as_they_are_written(values):
    assert numbers(",".join(map(repr, values)), "point") == tuple(values)


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4", "1;2", "a,b", "1,,2", "nan,1", "1,inf", "1,2:3,4"])
def test_what_is_not_two_or_three_finite_numbers_is_refused_by_name(text):
    with pytest.raises(PromptError, match="x,y or x,y,z"):
        numbers(text, "point")


@pytest.mark.parametrize("value", [[None, 1], [[1], 2], {"x": 1}, ["a", "b", "c"]])
def test_a_json_value_of_another_type_is_refused_by_name(value):
    with pytest.raises(PromptError):
        numbers(value, "point")


def test_corners_of_a_box():
    assert corners("1,2:3,4") == ((1, 2), (3, 4))
    assert corners("-1.5,2,3:4,5,6") == ((-1.5, 2, 3), (4, 5, 6))


@pytest.mark.parametrize("text", ["1,2", "1,2:3,4,5", "1,2:3,4:5,6", "1,2-3,4", ":"])
def test_what_is_no_box_is_refused(text):
    with pytest.raises(PromptError):
        corners(text)


def test_an_outline_and_its_slice():
    assert outline("1,2:3,4:5,6") == ([(1, 2), (3, 4), (5, 6)], None)
    assert outline("1,2:3,4:5,6@12") == ([(1, 2), (3, 4), (5, 6)], 12)


@pytest.mark.parametrize("text", ["1,2:3,4", "1,2:3,4:5,6@", "1,2:3,4:5,6@1.5", "1,2,3:4,5,6:7,8,9", "1,2:3,4:5,6@-1"])
def test_what_is_no_outline_is_refused(text):
    with pytest.raises(PromptError):
        outline(text)


def test_sizes_of_memory():
    assert size_in_bytes("4GiB") == 4 * 1024**3
    assert size_in_bytes("500MB") == 500_000_000


@pytest.mark.parametrize("text", ["", "lots", "-1GiB", "0", "4 XB"])
def test_what_is_no_size_is_a_usage_error(text):
    with pytest.raises(UsageError, match="--max-memory"):
        size_in_bytes(text)


def test_a_choice_is_a_number_where_it_can_be():
    assert choice("12") == 12
    assert choice("T1 axial") == "T1 axial"
    assert choice("1.2.840") == "1.2.840"
    assert choice(None) is None
