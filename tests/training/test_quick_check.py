"""The glance at whether training works."""

from dataclasses import replace

from tests.training.helpers import nested_view
from training.tiny.quick_check import MIN_SHARE, SIDE, check, letterbox, padded, some_of_each

from samaritan.models.tiny.network import TinyNetwork


def test_the_check_scores_a_network_and_the_ellipse(views):
    scores = check(TinyNetwork(), views[:1])
    asked = ("box", "click", "ellipse")
    assert set(scores) == {*asked, *(f"{name} synthetic" for name in asked)}
    assert all(0 <= score <= 1 for score in scores.values())


def test_some_views_of_each_family_are_always_the_same(views):
    families = [replace(view, family=name) for view in views for name in ("a", "b")]
    some = some_of_each([*families, replace(views[0], family="c", image=None)], 2)
    assert [view.family for view in some] == ["a", "a", "b", "b"]
    assert [id(view) for view in some] == [id(view) for view in some_of_each(families, 2)]


def test_the_objects_that_are_asked_for_are_the_largest_single_pieces():
    view = nested_view()
    shown, (image, masks) = padded(view), letterbox(view)
    assert shown.parts.shape == image.shape[:2] == (SIDE, SIDE)
    assert shown.least == MIN_SHARE * SIDE**2
    sizes = [int((shown.parts == number).sum()) for number in (1, 3, 2)]
    assert [int(mask.sum()) for mask in masks] == sizes == sorted(sizes, reverse=True)
