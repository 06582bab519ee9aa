"""Dice, overlap and means over families."""

import numpy as np
import pytest
from training.measures import dice, family_means, iou, lowest, macro


def test_dice_by_hand():
    assert dice(np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 0], bool)) == 0.5


def test_overlap_by_hand_and_of_nothing():
    assert iou(np.array([1, 1, 0, 0], bool), np.array([0, 1, 1, 0], bool)) == pytest.approx(1 / 3)
    assert iou(np.zeros(4, bool), np.zeros(4, bool)) == 0


def test_means_go_over_families():
    values, families = [1.0, 0.0, 0.25], ["b", "b", "a"]
    assert family_means(values, families) == {"b": 0.5, "a": 0.25}
    assert macro(values, families) == 0.375
    with pytest.raises(ValueError, match="zip"):
        macro(values, families[:2])


def test_the_lowest_are_named():
    assert lowest({"a": 0.5, "b": 0.25, "c": 0.75}, 2) == "b 0.250, a 0.500"
