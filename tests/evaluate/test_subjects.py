import numpy as np
import pytest

from samaritan.core.geometry import Geometry
from samaritan.data import Labelled
from samaritan.evaluate.subjects import Choice, seeded, subjects_of, viewing_axis

GRID = Geometry.from_spacing((20, 18, 10), (1.0, 1.0, 3.0))


def labelled(value, where, instance=0, name=""):
    mask = np.zeros(GRID.shape, bool)
    mask[where] = True
    return Labelled(value, name or f"label {value}", mask, instance)


def ask(objects, **options):
    return subjects_of(GRID, objects, Choice(**options), seeded(0))


LIVER = labelled(1, np.s_[2:10, 2:10, 3], name="liver")
SPLEEN = labelled(2, np.s_[12:18, 2:6, 2:8], name="spleen")


def test_a_volume_is_asked_about_in_the_slices_where_its_objects_are_largest():
    planes = ask([LIVER, SPLEEN])
    assert [(plane.axis, plane.index) for plane in planes] == [("k", 2), ("k", 3)]
    assert [[w.name for w in plane.wanted] for plane in planes] == [["spleen"], ["liver"]]
    assert planes[1].wanted[0].target.mask.shape == (20, 18, 1)


def test_or_as_a_whole():
    (volume,) = ask([LIVER, SPLEEN], dims=3)
    assert volume.index is None
    assert volume.geometry == GRID
    assert len(volume.wanted) == 2


def test_slices_are_looked_at_across_thick_ones():
    assert viewing_axis(Geometry.from_spacing((10, 40, 40), (4.0, 1.0, 1.0))) == "i"
    assert viewing_axis(Geometry.from_spacing((10, 40, 40), (1.2, 1.0, 1.0))) == "k"
    assert viewing_axis(Geometry.picture(4, 4)) == "k"


def test_which_objects():
    assert len(ask([LIVER, SPLEEN], labels=("spleen",))) == 1
    assert len(ask([LIVER, SPLEEN], labels=("1",))) == 1
    assert ask([LIVER, SPLEEN], least_share=0.1)[0].wanted[0].name == "liver"
    assert ask([LIVER, SPLEEN], least_share=0.5) == []
    two = labelled(3, (np.r_[1:3, 8:14], slice(4, 8), 5))
    (plane,) = ask([two], piece=True)
    assert np.argwhere(plane.wanted[0].target.mask)[:, 0].min() == 8
    assert ask([labelled(4, np.s_[0:0])]) == []


def test_of_many_a_few_are_drawn_the_same_every_time():
    cells = [labelled(1, np.s_[n, n, 4], instance=n + 1) for n in range(15)]
    drawn = [w.instance for plane in ask(cells, most=4) for w in plane.wanted]
    assert len(drawn) == 4
    assert drawn == sorted(drawn)
    assert drawn == [w.instance for plane in ask(cells, most=4) for w in plane.wanted]


@pytest.mark.parametrize("words", [("a", "b"), ("ab",), ("a", "b", 0), (1, "a", "b")])
def test_words_tell_draws_apart(words):
    assert seeded("a", 1).integers(2**60) != seeded(*words).integers(2**60)
    assert seeded(*words).integers(2**60) == seeded(*words).integers(2**60)
