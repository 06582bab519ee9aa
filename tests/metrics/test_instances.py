"""Instances: found, made up, missed."""

import math

import numpy as np
import pytest

from samaritan.core.errors import GeometryMismatchError, ImageError
from samaritan.metrics import average_precision, detect, lesion_f1, panoptic_quality


def row(*spans, length=40):
    """Return a label map of one row: each span (start, stop) is an instance."""
    labels = np.zeros((1, length), np.int32)
    for number, (start, stop) in enumerate(spans, start=1):
        labels[0, start:stop] = number
    return labels


REFERENCE = row((0, 10), (12, 20), (30, 34))
PREDICTION = row((0, 8), (13, 23), (36, 40))  # IoU .8, 7/11, and one that is nowhere


def test_by_hand():
    found = detect(REFERENCE, PREDICTION)
    assert (found.true_positives, found.false_positives, found.false_negatives) == (2, 1, 1)
    assert found.f1 == found.sensitivity == found.precision == pytest.approx(2 / 3)
    assert found.accuracy == 2 / 4
    assert found.segmentation_quality == pytest.approx((0.8 + 7 / 11) / 2)
    assert found.panoptic_quality == pytest.approx(found.f1 * found.segmentation_quality)
    assert panoptic_quality(REFERENCE, PREDICTION) == found.panoptic_quality


@pytest.mark.parametrize(("least_iou", "count"), [(0.1, 2), (0.64, 1), (0.8, 1), (0.81, 0)])
def test_a_higher_threshold_finds_less(least_iou, count):
    assert detect(REFERENCE, PREDICTION, least_iou=least_iou).true_positives == count


def test_below_a_half_as_many_as_can_be_are_paired():
    # The first prediction overlaps both, the first reference more; the second prediction only the first.
    reference, prediction = row((0, 10), (10, 14)), row((4, 13), (0, 4))
    assert detect(reference, prediction, least_iou=0.2).true_positives == 2


def test_what_one_piece_covers_counts_once():
    assert detect(row((0, 10), (10, 20)), row((0, 20)), least_iou=0.5).true_positives == 1
    assert detect(row((0, 20)), row((0, 10), (10, 20)), least_iou=0.5).true_positives == 1


def test_labels_need_not_follow_one_another():
    assert detect(REFERENCE * 7, PREDICTION * 1000) == detect(REFERENCE, PREDICTION)


def test_nothing_to_find():
    none = np.zeros_like(REFERENCE)
    nothing = detect(none, none)
    assert all(map(math.isnan, (nothing.f1, nothing.sensitivity, nothing.precision, nothing.panoptic_quality)))
    made_up, missed = detect(none, PREDICTION), detect(REFERENCE, none)
    assert made_up.f1 == made_up.panoptic_quality == made_up.precision == 0
    assert missed.f1 == missed.panoptic_quality == missed.sensitivity == 0
    assert math.isnan(made_up.sensitivity)
    assert math.isnan(missed.precision)


def test_lesions_are_pieces_that_touch_at_corners_too():
    reference, prediction = np.zeros((2, 20, 20, 20), np.bool_)
    reference[2:4, 2:4, 2:4] = reference[4:6, 4:6, 4:6] = True  # one, as two corners touch
    reference[10:12, 10:12, 10:12] = True
    prediction[2:6, 2:6, 2:6] = True  # IoU 16/64
    prediction[11:13, 10:12, 10:12] = True  # IoU 4/12
    assert lesion_f1(reference, prediction) == 1
    assert lesion_f1(reference, prediction, least_iou=0.3) == 0.5
    assert math.isnan(lesion_f1(reference & False, prediction & False))


def test_average_precision_by_hand():
    # By score: a hit, a miss, a hit. Precision 1 up to a third of the recall, then 2/3 to two thirds, then none.
    scores = {1: 0.9, 2: 0.5, 3: 0.7}
    found = average_precision([(REFERENCE, PREDICTION, scores)])
    assert found == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)


def test_average_precision_is_of_all_images_together():
    perfect = (REFERENCE, REFERENCE, {1: 0.3, 2: 0.2, 3: 0.1})
    empty = np.zeros_like(REFERENCE)
    assert average_precision([perfect]) == average_precision([perfect, (empty, empty, {})]) == 1
    # Something made up in another image, more certain than all that is right.
    made_up = average_precision([perfect, (empty, row((0, 5)), {1: 0.9})])
    assert made_up == pytest.approx(3 / 4)
    assert average_precision([(REFERENCE, empty, {})]) == 0
    assert math.isnan(average_precision([(empty, PREDICTION, {1: 1, 2: 1, 3: 1})]))


def test_the_second_that_covers_the_same_is_wrong():
    twice = average_precision([(row((0, 10)), row((0, 9), (9, 10)), {1: 0.5, 2: 0.9})], least_iou=0.1)
    assert twice == pytest.approx(1)  # the smaller one takes it, the larger is a miss after full recall


def test_what_is_no_label_map_is_refused():
    with pytest.raises(ImageError, match="integers"):
        detect(REFERENCE.astype(float), PREDICTION)
    with pytest.raises(ImageError, match="integers"):
        detect(REFERENCE, -PREDICTION)
    with pytest.raises(GeometryMismatchError, match="one grid"):
        detect(REFERENCE, PREDICTION[:, :-1])
