import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samaritan.core.errors import CorruptFileError
from samaritan.core.geometry import Geometry
from samaritan.core.image import LabelMap
from samaritan.io import read_labels, write
from samaritan.io.notes import Notes, one_line

colours = st.tuples(*[st.integers(0, 255)] * 3)


@given(
    st.builds(
        Notes,
        names=st.dictionaries(st.integers(1, 2**32), st.text()),
        colours=st.dictionaries(st.integers(1, 2**32), colours),
        channels=st.lists(st.text(), max_size=3).map(tuple),
        unit=st.sampled_from(["mm", "pixel"]),
    )
)
def test_notes_survive_as_ascii(notes):
    text = notes.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert Notes.from_json(text, where="a file") == notes


@pytest.mark.parametrize("text", ["", "hello", "[]", "3", '{"other": 1}', "{", "[" * 100_000])
def test_other_text_is_no_notes(text):
    assert Notes.from_json(text, where="a file") is None


@pytest.mark.parametrize(
    "content",
    [
        "3",
        '{"labels": 3}',
        '{"labels": [{"value": 1, "colour": [1, 2, 256]}]}',
        '{"labels": [{"value": "x", "name": "a"}]}',
        '{"affine": 1}',
    ],
)
def test_damaged_notes_are_named(content):
    with pytest.raises(CorruptFileError, match="a file"):
        Notes.from_json('{"samaritan": ' + content + "}", where="a file")


@pytest.mark.parametrize(
    "name", ["a\\n b", "x:=y", "# hash", "a = b", '"q"', "名前", "line\nbreak", "two  spaces", " "]
)
@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii.gz"])
def test_odd_names_survive_to_the_line(tmp_path, suffix, name):
    labels = LabelMap(np.ones((2, 2, 2), np.uint8), Geometry.from_spacing((2, 2, 2)), {1: name})
    back = read_labels(write(labels, tmp_path / f"a{suffix}"))
    assert one_line(back.names.get(1, "")) == one_line(name)
