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


def test_unknown_names_suggest_the_nearest_before_they_list_all():
    error = UnknownNameError.of("medsan", kind="model", known=["tiny", "medsam"])
    assert str(error) == "unknown model 'medsan'. Did you mean 'medsam'? Wanted one of: medsam, tiny."
    assert str(copy.copy(error)) == str(error)
    assert error.fix == "Did you mean 'medsam'?"


def test_many_names_that_a_command_lists_are_not_listed_again():
    many = [f"sam-{n}" for n in "abcdefg"] + ["medsam", "medsam2"]

    def told(name, known, **options):
        return str(UnknownNameError.of(name, kind="model", known=known, **options)).removeprefix("unknown model ")

    lists = {"listed_by": "samaritan models"}
    assert told("medsan", many, **lists) == (
        "'medsan'. Did you mean 'medsam'? Wanted one of 9, such as medsam, medsam2; `samaritan models` lists all."
    )
    assert told("xyz", many, **lists) == "'xyz'. Wanted one of 9; `samaritan models` lists all."
    assert told("medsan", many[1:], **lists).endswith(f"Wanted one of: {', '.join(sorted(many[1:]))}.")  # few enough
    assert told("xyz", many) == f"'xyz'. Wanted one of: {', '.join(sorted(many))}."  # nobody else lists them
