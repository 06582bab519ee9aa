"""The error tree: messages, codes, statuses, and the trip between processes."""

import copy

import pytest

from samaritan.core import errors
from samaritan.core.errors import SamaritanError, UnknownNameError, status_of


def tree(cls=SamaritanError):
    """Return the classes of the module; other layers may add their own below them."""
    below = (child for child in cls.__subclasses__() if child.__module__ == errors.__name__)
    return [cls, *(c for child in below for c in tree(child))]


@pytest.mark.parametrize("cls", tree())
def test_every_error_says_all_three_parts_and_survives_copying(cls):
    error = cls(got="a cat", wanted="a dog", fix="Type woof")
    assert str(error) == "a cat. Wanted a dog. Type woof."
    assert error.to_dict() == {"code": cls.code, "got": "a cat", "wanted": "a dog", "fix": "Type woof"}
    again = copy.copy(error)
    assert type(again) is cls
    assert str(again) == str(error)


def test_codes_are_unique_and_the_docstring_lists_every_class():
    codes = [cls.code for cls in tree()]
    assert len(codes) == len(set(codes))
    for cls in tree():
        assert cls.__name__ in str(errors.__doc__)
    assert set(errors.STATUS) <= set(codes)


def test_a_class_without_a_row_takes_its_parents():
    assert status_of(errors.PromptOutsideImageError) == errors.STATUS["prompt"]
    assert status_of(errors.CorruptFileError(got="x")) == errors.STATUS["read"]
    assert status_of(errors.UnsupportedFormatError(got="x")).http == 415
    assert status_of(errors.ChecksumError(got="x")) == errors.STATUS["error"]


def test_unknown_names_suggest_the_nearest():
    error = UnknownNameError.of("medsan", kind="model", known=["tiny", "medsam"])
    assert str(error) == "unknown model 'medsan'. Wanted one of: medsam, tiny. Did you mean 'medsam'?"
