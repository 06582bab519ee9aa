import numpy as np
import pytest

from samaritan.core.errors import PromptError
from samaritan.core.geometry import Geometry
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.models.letterbox import Letterbox
from samaritan.models.prompt_areas import extent, keep_within_lasso
from samaritan.models.tiny.prompt_maps import Scribbles, render
from samaritan.models.tiny.prompts import distance_to_agreement, given_way, maps, marks_against

WIDTH, HEIGHT = 128, 64  # four pixels of the frame to one of the plane
GEOMETRY = Geometry.picture(WIDTH, HEIGHT)
LETTERBOX = Letterbox.fit((WIDTH, HEIGHT), side=512, multiple=32)
FRAME = (256, 512)  # rows, columns


def drawn(*items, previous=None):
    return maps(Prompts(GEOMETRY, items), previous, LETTERBOX)


def test_a_point_is_drawn_at_the_centre_of_its_pixel():
    wanted = render(FRAME, points=np.array([[42.0, 82.0]], np.float32), positive=np.array([True]))
    np.testing.assert_array_equal(drawn(Point((10, 20, 0))), wanted)


def test_a_box_is_drawn_from_edge_to_edge():
    wanted = render(FRAME, box=np.array([40, 80, 120, 160], np.float32))
    np.testing.assert_array_equal(drawn(Box((10, 20, 0), (30, 40, 1))), wanted)


def test_several_boxes_are_the_smallest_one_around_them():
    both = drawn(Box((10, 20, 0), (30, 40, 1)), Box((50, 10, 0), (60, 30, 1)))
    np.testing.assert_array_equal(both, drawn(Box((10, 10, 0), (60, 40, 1))))


def test_scribbles_keep_their_signs():
    found = drawn(Scribble(np.array([[10, 20, 0]])), Scribble(np.array([[50, 30, 0]]), positive=False))
    positive, negative = np.zeros(FRAME, bool), np.zeros(FRAME, bool)
    positive[80:84, 40:44] = negative[120:124, 200:204] = True
    np.testing.assert_array_equal(found, render(FRAME, scribbles=Scribbles(positive, negative)))


SQUARE = np.array([(9.5, 19.5, 0), (29.5, 19.5, 0), (29.5, 39.5, 0), (9.5, 39.5, 0)])
AREA = np.zeros((WIDTH, HEIGHT, 1), bool)
AREA[10:30, 20:40] = True


def test_a_lasso_is_a_box_and_a_previous_mask():
    np.testing.assert_array_equal(drawn(Lasso(SQUARE)), drawn(Box((10, 20, 0), (30, 40, 1)), MaskPrompt(AREA)))


def test_the_mask_stays_within_the_lasso():
    everywhere = np.full((1, WIDTH, HEIGHT, 1), 2, np.float32)
    kept = keep_within_lasso(everywhere, Prompts(GEOMETRY, (Lasso(SQUARE), Point((15, 25, 0)))))
    np.testing.assert_array_equal(kept[0] > 0, AREA)
    np.testing.assert_array_equal(kept[0][AREA], 2)


def test_a_positive_mark_outside_the_lasso_lets_the_mask_out():
    everywhere = np.full((1, WIDTH, HEIGHT, 1), 2, np.float32)
    for mark in (Point((50, 50, 0)), Scribble(np.array([[50, 50, 0]]))):
        np.testing.assert_array_equal(keep_within_lasso(everywhere, Prompts(GEOMETRY, (Lasso(SQUARE), mark))), 2)


def test_without_a_lasso_logits_stay_as_they_are():
    logits = np.full((1, WIDTH, HEIGHT, 1), 2, np.float32)
    assert keep_within_lasso(logits, Prompts(GEOMETRY, (Point((50, 50, 0)),))) is logits


def test_a_lasso_too_thin_to_hold_a_pixel_is_taken():
    assert np.isfinite(drawn(Lasso(np.array([(10.2, 20, 0), (10.3, 20, 0), (10.2, 20.1, 0)])))).all()


def test_a_negative_lasso_is_a_negative_scribble():
    box = Box((0, 0, 0), (60, 60, 1))
    scribble = Scribble(np.argwhere(AREA), positive=False)
    np.testing.assert_array_equal(drawn(box, Lasso(SQUARE, positive=False)), drawn(box, scribble))


def test_a_lone_mask_brings_its_box_along():
    np.testing.assert_array_equal(drawn(MaskPrompt(AREA)), drawn(MaskPrompt(AREA), Box((10, 20, 0), (30, 40, 1))))


def test_a_mask_with_a_click_brings_no_box():
    box_flag = 5
    assert drawn(MaskPrompt(AREA), Point((15, 25, 0)))[box_flag].max() == 0


def prediction(logits):
    return Prediction(np.asarray(logits, np.float32)[None], np.ones(1, np.float32), GEOMETRY)


def test_a_previous_prediction_is_handed_back():
    logits = np.where(AREA, 3.0, -3.0)
    previous_channel, flag = 10, 11
    found = drawn(Point((15, 25, 0)), previous=prediction(logits))
    inside = found[previous_channel][25:35, 15:25]
    np.testing.assert_allclose(inside, np.tanh(3 / 4), atol=1e-5)
    assert found[flag].min() == 1


def test_what_the_model_last_said_goes_before_an_older_mask():
    previous = prediction(np.where(np.roll(AREA, 3, axis=0), 5.0, -5.0))
    with_mask = drawn(MaskPrompt(AREA), Point((15, 25, 0)), previous=previous)
    np.testing.assert_array_equal(with_mask, drawn(Point((15, 25, 0)), previous=previous))


@pytest.mark.parametrize(
    "item",
    [Point((1, 1, 0), positive=False), Scribble(np.array([[1, 1, 0]]), positive=False), Lasso(SQUARE, positive=False)],
)
def test_negative_prompts_alone_are_refused(item):
    with pytest.raises(PromptError, match="negative prompts only"):
        drawn(item)
    assert np.isfinite(drawn(item, previous=prediction(np.where(AREA, 3.0, -3.0)))).all()


def _disc_logits(radius):
    i, j = np.ogrid[:80, :60]
    return np.clip(radius - np.hypot(i - 40, j - 30), -6, 6).astype(np.float32)


def test_clicks_on_the_wrong_side_are_named():
    inside, outside = Point((40, 30, 0)), Point((70, 50, 0))
    denied = Point((41, 31, 0), positive=False)
    prompts = Prompts(Geometry.picture(80, 60), (inside, outside, denied))
    assert marks_against(_disc_logits(15), prompts) == [outside, denied]


@pytest.mark.parametrize(("voxel", "positive"), [((62, 30, 0), True), ((40, 30, 0), False), ((0, 0, 0), True)])
def test_a_click_that_was_not_heeded_changes_what_is_next_to_it(voxel, positive):
    logits = _disc_logits(15)
    click = Point(voxel, positive=positive)
    changed = given_way(logits, Prompts(Geometry.picture(80, 60), (click,)), reach=5)
    assert (changed[voxel[:2]] > 0) == positive
    i, j = np.ogrid[:80, :60]
    far = np.hypot(i - voxel[0], j - voxel[1]) > 22
    np.testing.assert_array_equal(changed[far], logits[far])
    flipped = (changed > 0) != (logits > 0)
    assert flipped.sum() < np.pi * 10**2


def test_clicks_of_both_signs_beside_each_other_all_have_their_way():
    clicks = (Point((40, 30, 0)), Point((42, 30, 0), positive=False), Point((40, 31, 0), positive=False))
    prompts = Prompts(Geometry.picture(80, 60), clicks)
    for logits in (np.full((80, 60), -5, np.float32), np.full((80, 60), 9, np.float32)):
        assert not marks_against(given_way(logits, prompts, reach=8), prompts)


def test_a_mask_drawn_beside_what_was_found_is_added_to_it():
    first, second = np.zeros((2, WIDTH, HEIGHT, 1), bool)
    first[20:40, 20:40], second[60:90, 10:30] = True, True
    previous = Prediction(np.where(first, 3.0, -3.0)[None].astype(np.float32), np.ones(1, np.float32), GEOMETRY)
    both = Prediction(
        np.where(first | second, np.where(second, 8.0, 3.0), -3.0)[None].astype(np.float32),
        np.ones(1, np.float32), GEOMETRY,
    )  # fmt: skip
    click, refusal = Point((30, 30, 0)), Point((70, 20, 0), positive=False)
    np.testing.assert_array_equal(drawn(click, MaskPrompt(second), previous=previous), drawn(click, previous=both))
    np.testing.assert_array_equal(drawn(click, MaskPrompt(first), previous=previous), drawn(click, previous=previous))
    assert extent(Prompts(GEOMETRY, (click, MaskPrompt(second))), previous).tolist() == [[20, 10], [90, 40]]
    # Somebody has said that it is not so.
    np.testing.assert_array_equal(
        drawn(click, refusal, MaskPrompt(second), previous=previous), drawn(click, refusal, previous=previous)
    )


def test_the_distance_to_agreement_is_in_pixels():
    click = Point((62, 30, 0))
    assert distance_to_agreement(_disc_logits(15), click, reach=10) == pytest.approx(8, abs=1)
    assert distance_to_agreement(_disc_logits(15), click, reach=3) == float("inf")
